"""The pages of an Ogg file (RFC 3533): which streams follow each other in it, and whether the last one is whole."""

from io import BufferedIOBase
from typing import NamedTuple

from audio_tokens.errors import ClipError

HEADER_BYTES = 27
BEGINS, ENDS = 2, 4  # flags of a page
NO_END = "Ogg stream without its end-of-stream flag, whole as far as it goes"
# What libsndfile decodes; the first bytes of a stream's first page.
BY_LIBSNDFILE = (b"\x01vorbis", b"OpusHead")
SEARCH_BYTES = 1 << 16


class OggStream(NamedTuple):
    """The bytes of one of the streams that follow each other, and whether it is nothing but Vorbis or Opus."""

    span: tuple[int, int]
    is_plain: bool


def ogg_streams(file: BufferedIOBase, position: int, size: int) -> tuple[list[OggStream], tuple[str, ...]]:
    """Return the chained streams of a file from `position` on, and notes on them.

    A stream begins with pages that say so (several where sound and video lie side by side), and ends before the next
    such page. Raises ClipError where the last page is not whole.
    """
    starts: list[int] = []
    plain: list[bool] = []
    flags, beginning = 0, False
    while (page := _page(file, position, size)) is not None:
        start, position, flags, body = page
        if flags & BEGINS and not beginning:
            starts.append(start)
            plain.append(True)
        beginning = bool(flags & BEGINS)
        if beginning:
            plain[-1] &= body.startswith(BY_LIBSNDFILE)
    if not starts:
        raise ClipError("cut off: the Ogg stream has no page that begins it")
    spans = zip(starts, [*starts[1:], size], strict=True)
    return [OggStream(*stream) for stream in zip(spans, plain, strict=True)], () if flags & ENDS else (NO_END,)


def _page(file: BufferedIOBase, position: int, size: int) -> tuple[int, int, int, bytes] | None:
    """Return start, stop, flags and the first bytes of the first page at or after `position`, or None at the end."""
    file.seek(position)
    header = file.read(HEADER_BYTES + 255 + 8)
    at = header.find(b"OggS")
    while at < 0 and position + len(header) < size:  # rubbish between pages, or after the last
        position += len(header) - 3
        file.seek(position)
        header = file.read(SEARCH_BYTES)
        at = header.find(b"OggS")
    if at < 0:
        return None
    start = position + at
    file.seek(start)
    header = file.read(HEADER_BYTES + 255 + 8)
    segments = header[26] if len(header) >= HEADER_BYTES else 255
    body = start + HEADER_BYTES + segments
    stop = body + sum(header[HEADER_BYTES : HEADER_BYTES + segments])
    if len(header) < HEADER_BYTES + segments or stop > size:
        raise ClipError("cut off: the last Ogg page is not whole")
    return start, stop, header[5], header[HEADER_BYTES + segments :]
