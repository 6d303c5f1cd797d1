"""Whole files that stand one behind the other in one, as `cat` joins them; players mostly stop after the first.

MP3 and ADTS have no beginning of their own and are read on; for chained Ogg see ogg_pages.py. Where a FLAC file ends
shows when it has been read.
"""

from collections.abc import Callable, Iterator
from io import BufferedIOBase

# A FLAC file begins with its STREAMINFO block of 34 bytes, which may be the last of its blocks of metadata.
FLAC_STARTS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
# libFLAC reads so far ahead at most; a search of all of a file would take 2 % of the time of its mel.
AHEAD_BYTES = 1 << 15


def beginnings(file: BufferedIOBase, start: int) -> list[int]:
    """Return where the files within a file begin, the first one at `start`; most files are one."""
    head = _read(file, start, 12)
    found: list[int] = []
    if head[:4] in (b"RIFF", b"FORM"):
        found = list(_in_a_row(file, start, _chunk_end, lambda next_head: _alike(next_head, head)))
    elif head[:4] == b"\x1aE\xdf\xa3":
        found = list(_in_a_row(file, start, matroska_end, lambda next_head: next_head[:4] == head[:4]))
    elif head[4:8] == b"ftyp":
        found = list(_in_a_row(file, start, _movie_end, lambda next_head: next_head[4:8] == b"ftyp"))
    return [start, *found]


def next_flac(file: BufferedIOBase, first: int, read_to: int, stop: int) -> int | None:
    """Return where another FLAC file begins behind the one at `first`, which has been read up to about `read_to`."""
    start = max(first + 4, read_to - AHEAD_BYTES)
    rest = _read(file, start, stop - start)
    found = [at for at in map(rest.find, FLAC_STARTS) if at >= 0]
    return start + min(found) if found else None


def matroska_end(file: BufferedIOBase, start: int) -> int | None:
    """Return where a Matroska file says that it ends; None where it does not say, as a live stream's."""
    position = start + 4
    for _ in ("header", "Segment"):
        first = _read(file, position, 8)
        if not first or not first[0]:
            return None
        width = 9 - first[0].bit_length()  # bytes of the number: one more than its leading zero bits
        value = int.from_bytes(first[:width], "big") & ((1 << 7 * width) - 1)
        position += width
        if value == (1 << 7 * width) - 1:  # all ones: unknown
            return None
        position += value + 4
    return position - 4


def _in_a_row(
    file: BufferedIOBase,
    start: int,
    end_of: Callable[[BufferedIOBase, int], int | None],
    begins: Callable[[bytes], bool],
) -> Iterator[int]:
    """Yield where a file ends and another of its kind begins."""
    end = end_of(file, start)
    while end is not None and begins(_read(file, end, 12)):
        yield end
        end = end_of(file, end)


def _chunk_end(file: BufferedIOBase, start: int) -> int | None:
    head = _read(file, start, 8)
    length = int.from_bytes(head[4:], "little" if head[:4] == b"RIFF" else "big")
    return start + 8 + length + length % 2


def _alike(head: bytes, other: bytes) -> bool:
    return head[:4] == other[:4] and head[8:] == other[8:]


def _movie_end(file: BufferedIOBase, start: int) -> int | None:
    """Return where the next `ftyp` box stands, with which each MP4 or MOV file begins."""
    position = start
    while len(header := _read(file, position, 16)) >= 8:
        length = int.from_bytes(header[:4], "big")
        if length == 1:  # it does not fit 32 bits
            length = int.from_bytes(header[8:], "big")
        if position > start and header[4:8] == b"ftyp":
            return position
        if length < 8:
            return None
        position += length
    return None


def _read(file: BufferedIOBase, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
