"""What a file of sound states about itself, without decoding any: its kind, whether its end is there, who reads it.

A statement is a promise: a file that holds less is cut off. Numbers that libraries estimate (the length of an MP3 from
its bit rate) and placeholders of writers that could not seek back (ffmpeg or sox into a pipe) promise nothing.
"""

import io
import math
import struct
from io import BufferedIOBase
from itertools import pairwise
from typing import NamedTuple

from audio_tokens.engine.sound.containers.joined_files import beginnings, matroska_end, next_flac
from audio_tokens.engine.sound.containers.mpeg_audio import after_id3, stated_mpeg
from audio_tokens.engine.sound.containers.ogg_pages import ogg_streams
from audio_tokens.errors import ClipError

JOINED = "several files joined into one"
HEAD_BYTES = 64  # enough to tell every kind below
TS_PACKET_BYTES = 188
# Kinds that FFmpeg reads, by bytes at an offset, with the demuxers that may be tried: none is ever guessed.
FFMPEG_KINDS = [
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (4, b"free", "mov"),
    (4, b"skip", "mov"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    (0, b"#!AMR", "amr"),
    (0, b"FLV\x01", "flv"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"MPCK", "mpc8"),
    (0, b"MP+", "mpc"),
    (0, b".RMF", "rm"),
    (0, b"DSD ", "dsf"),
    (0, b"tBaK", "tak"),
    (0, b"ajkg", "shn"),
    (0, b"\x7f\xfe\x80\x01", "dts"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x0bw", "ac3,eac3"),
    (0, b"ADIF", "aac"),
    (0, b"Creative Voice File", "voc"),
    (0, b"nut/multimedia container", "nut"),
    (0, b"FWS", "swf"),
    (0, b"CWS", "swf"),
    (4, b"\xf8\x72\x6f\xba", "truehd"),
    (4, b"\xf8\x72\x6f\xbb", "mlp"),
]
# Sizes that stand for "unknown" where the file is shorter: 0, 2^32 - 1 and what lies closely below 2^31 and 2^32.
# sox writes 0x7ffff000 into WAV and 0x7f000000 and a header into AIFF, arecord 0x80000000.
PLACEHOLDERS = (range(1), range(0x7F000000, 0x80000100), range(0xFFFFF000, 1 << 32))
# Format tags of WAV whose number of samples libsndfile only estimates: MPEG audio, layers I to III.
ESTIMATED_TAGS = (0x50, 0x55)


class Part(NamedTuple):
    """A whole stream within a file.

    Args:
        start, stop: its bytes
        demuxers: names of FFmpeg's demuxers that may read it; none where FFmpeg does not know the kind
        by_libsndfile: whether libsndfile reads it, if it can
        seconds: of sound that it states, where the reader cannot tell
        lenient: whether frames that cannot be decoded are passed over, as every player of such streams does
    """

    start: int
    stop: int
    demuxers: str = ""
    by_libsndfile: bool = False
    seconds: float | None = None
    lenient: bool = False


class Contents(NamedTuple):
    """The parts of a file, in the order in which they sound, and what is unusual about it, to be counted."""

    parts: list[Part]
    notes: tuple[str, ...] = ()


def contents(file: BufferedIOBase) -> Contents:
    """Return the streams that a file holds.

    Raises ClipError where the file itself shows that its end is missing, or that it is empty.
    """
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise ClipError("empty file (0 bytes)")
    start = after_id3(file)
    starts = beginnings(file, start)
    return _of_each(file, starts, size) if len(starts) > 1 else _of_one(file, start, size)


def behind(file: BufferedIOBase, part: Part, read_to: int) -> Contents:
    """Return what stands behind a FLAC file that libsndfile has read up to about `read_to`, for which it stops."""
    is_flac = part.by_libsndfile and part.demuxers == "flac"
    start = next_flac(file, part.start, read_to, part.stop) if is_flac else None
    return Contents([]) if start is None else _of_each(file, [start], part.stop)


def _of_each(file: BufferedIOBase, starts: list[int], size: int) -> Contents:
    found = Contents([], (JOINED,))
    for first, end in pairwise([*starts, size]):
        one = _of_one(io.BytesIO(_read(file, first, end - first)), 0, end - first)
        parts = [part._replace(start=part.start + first, stop=part.stop + first) for part in one.parts]
        found = Contents([*found.parts, *parts], (*found.notes, *one.notes))
    return found


def _of_one(file: BufferedIOBase, start: int, size: int) -> Contents:
    head = _read(file, start, HEAD_BYTES)
    magic, form = head[:4], head[8:12]
    slow, fast = Part(start, size), Part(start, size, by_libsndfile=True)
    if magic == b"fLaC":  # 36 bits of the first block: the number of samples, 0 where a pipe was written to
        stated_samples = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
        return Contents([(fast if stated_samples else slow)._replace(demuxers="flac")])
    if magic == b"OggS":
        streams, notes = ogg_streams(file, start, size)
        return Contents([Part(*stream.span, "ogg", stream.is_plain) for stream in streams], notes)
    if magic in (b"RIFF", b"RF64", b"BW64") and form == b"WAVE":
        unknown = _check_chunk(file, size, name=b"data", byte_order="<") == 0 and magic == b"RIFF"
        estimated = unknown or _wav_tag(file) in ESTIMATED_TAGS
        return Contents([(slow if estimated else fast)._replace(demuxers="wav", lenient=estimated)])
    if magic == b"FORM" and form in (b"AIFF", b"AIFC"):
        _check_chunk(file, size, name=b"SSND", byte_order=">")
        return Contents([fast._replace(demuxers="aiff")])
    if magic == b"RIFF" and form == b"AVI ":
        _check_length(int.from_bytes(head[4:8], "little"), size - 8, "RIFF chunk")
        return Contents([slow._replace(demuxers="avi")])
    if samples := _one_run(file, head):
        _check_length(samples.stated_bytes, size - samples.start, samples.name)
        return Contents([fast._replace(demuxers=samples.demuxers)])
    for at, mark, demuxers in FFMPEG_KINDS:
        if head[at : at + len(mark)] == mark:
            if demuxers == "matroska":
                _check_matroska(file, size)
            if demuxers == "mov":
                _check_boxes(file, size)
            return Contents([slow._replace(demuxers=demuxers)])
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: the sync word and layer 0
        return Contents([slow._replace(demuxers="aac")])
    if size > 3 * TS_PACKET_BYTES and all(_read(file, TS_PACKET_BYTES * packet, 1) == b"G" for packet in range(3)):
        return Contents([slow._replace(demuxers="mpegts", lenient=True)])
    if mpeg := stated_mpeg(file, start, size):
        return Contents([Part(0, size, "mp3", mpeg.is_exact, mpeg.seconds, lenient=True)])
    return Contents([fast])  # libsndfile knows more kinds


def _read(file: BufferedIOBase, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _check_length(stated_bytes: int, left_bytes: int, name: str) -> None:
    if left_bytes < stated_bytes and not any(stated_bytes in values for values in PLACEHOLDERS):
        raise ClipError(f"cut off: the {name} holds {left_bytes} of {stated_bytes} bytes promised")


def _check_chunk(file: BufferedIOBase, size: int, *, name: bytes, byte_order: str) -> int | None:
    """Return the length that the sound chunk of a WAV or AIFF file states: 0 where samples follow all the same.

    Raises ClipError where it holds fewer bytes than it says.
    """
    position, long_bytes = 12, None
    while len(header := _read(file, position, 24)) >= 8:
        found, chunk_bytes = struct.unpack_from(byte_order + "4sI", header)
        if found == b"ds64" and len(header) == 24:  # RF64 writes the real length here
            long_bytes = struct.unpack_from("<Q", header, 16)[0]
        if found == name:
            stated = long_bytes if long_bytes and chunk_bytes == 0xFFFFFFFF else chunk_bytes
            left_bytes = size - position - 8
            _check_length(stated, left_bytes, f"{name.decode()} chunk")
            following, following_bytes = struct.unpack_from(byte_order + "4sI", header.ljust(16, b"\0"), 8)
            is_empty = left_bytes < 8 or (following.isalnum() and following_bytes <= left_bytes - 8)
            return None if not stated and is_empty else stated
        position += 8 + chunk_bytes + chunk_bytes % 2
    return None


def _wav_tag(file: BufferedIOBase) -> int:
    at = _read(file, 0, 4096).find(b"fmt ")
    return int.from_bytes(_read(file, at + 8, 2), "little") if at > 0 else 0


class _Run(NamedTuple):
    """The one run of samples of a file."""

    name: str
    start: int
    stated_bytes: int
    demuxers: str


def _one_run(file: BufferedIOBase, head: bytes) -> _Run | None:
    """Return what AU, SPHERE, CAF and W64 files state, or None for other kinds."""
    if head[:4] == b".snd" and len(head) >= 24:
        start, stated_bytes = struct.unpack_from(">II", head, 4)
        return _Run("sound of the AU file", start, stated_bytes, "au")
    if head[:8] == b"NIST_1A\n":
        lines = [line.split() for line in _read(file, 0, 1024).split(b"\n")]
        fields = {line[0]: line[2] for line in lines if len(line) == 3}
        packed = b"shorten" in fields.get(b"sample_coding", b"")
        numbers = [fields.get(name, b"0") for name in (b"sample_count", b"sample_n_bytes", b"channel_count")]
        known = not packed and all(number.isdigit() for number in numbers)
        return _Run("sound of the SPHERE file", 1024, math.prod(map(int, numbers)) if known else 0, "nistsphere")
    if head[:4] == b"caff":
        position = 8
        while len(header := _read(file, position, 12)) == 12:
            name, chunk_bytes = struct.unpack(">4sq", header)
            if name == b"data" or chunk_bytes < 0:  # -1: unknown
                return _Run("data chunk", position + 12, max(0, chunk_bytes), "caf")
            position += 12 + chunk_bytes
    if head[:4] == b"riff" and head[24:28] == b"wave":  # W64: chunks have names and lengths of 16 and 8 bytes
        position = 40
        while len(header := _read(file, position, 24)) == 24:
            chunk_bytes = int.from_bytes(header[16:], "little")
            if header[:4] == b"data":
                return _Run("data chunk", position, chunk_bytes, "w64")
            position += max(24, -(-chunk_bytes // 8) * 8)
    return None


def _check_matroska(file: BufferedIOBase, size: int) -> None:
    """Raise ClipError where the Segment, which holds everything after the header, is longer than the file."""
    if end := matroska_end(file, 0):
        _check_length(end, size, "file with its Segment")


def _check_boxes(file: BufferedIOBase, size: int) -> None:
    """Raise ClipError where one of the boxes that an MP4 or MOV file consists of is longer than what is left of it."""
    position = 0
    while len(header := _read(file, position, 16)) >= 8:
        box_bytes, name = struct.unpack_from(">I4s", header)
        if box_bytes == 1 and len(header) == 16:  # the length does not fit 32 bits
            box_bytes = struct.unpack_from(">Q", header, 8)[0]
        if box_bytes < 8:  # 0: up to the end of the file
            return
        _check_length(box_bytes, size - position, f"{repr(name)[2:-1]} box")  # damaged, it may hold anything
        position += box_bytes
