"""What an MPEG audio stream (MP3, MP2) states about its length.

There is no header over the stream: each frame of some 26 ms has its own. Encoders put a frame of silence first that
says how many frames and bytes follow (Xing or Info; Fraunhofer's is called VBRI). Where it is missing, whatever a
library calls the length is an estimate from the first frame's bit rate.
"""

import struct
from io import BufferedIOBase
from typing import NamedTuple

from audio_tokens.errors import ClipError

SEARCH_BYTES = 1 << 16  # zeros or rubbish that may stand before the first frame
RATES_HZ = (44_100, 48_000, 32_000)
# kbit/s by (MPEG-1, layer), index 1 to 14
BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
TAGS_AT_THE_END = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")


class Frame(NamedTuple):
    """The header of one frame."""

    rate_hz: int
    samples: int
    frame_bytes: int


class MpegAudio(NamedTuple):
    """A stream of MPEG audio.

    Args:
        seconds: of sound that it states, or None
        is_exact: whether it begins and ends where it says: then libsndfile, which believes it, reads all of it
    """

    seconds: float | None
    is_exact: bool


def stated_mpeg(file: BufferedIOBase, tag_end: int, size: int) -> MpegAudio | None:
    """Return what the MPEG audio that begins near `tag_end` states, or None where there is none.

    Raises ClipError where it states more bytes than there are.
    """
    file.seek(tag_end)
    head = file.read(SEARCH_BYTES)
    at = _first_frame(head, at_end=tag_end + len(head) == size)
    if at is None:
        return None
    start, frame = tag_end + at, frame_at(head, at)
    assert frame is not None
    frames, stream_bytes = _stated(head[at : at + frame.frame_bytes])
    if stream_bytes and stream_bytes > size - start:
        raise ClipError(f"cut off: the MPEG stream holds {size - start} of {stream_bytes} bytes promised")
    # Encoders count their delay and padding too, up to four frames, which decoders take off.
    seconds = max(0, frames - 4) * frame.samples / frame.rate_hz if frames else None
    file.seek(start + (stream_bytes or 0))
    tail = file.read(16)
    ends_there = bool(stream_bytes) and (not tail or tail.startswith(TAGS_AT_THE_END))
    return MpegAudio(seconds, bool(frames) and ends_there and at == 0)


def frame_at(data: bytes, at: int) -> Frame | None:
    """Return the frame whose header begins at `at`, or None where none can."""
    if len(data) < at + 4 or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    bitrate, rate, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bitrate in (0, 15):
        return None
    first = version == 3
    rate_hz = RATES_HZ[rate] >> (0 if first else 1 if version == 2 else 2)
    bits = BITRATES[first, layer][bitrate - 1] * 1000
    if layer == 1:
        return Frame(rate_hz, 384, (12 * bits // rate_hz + padding) * 4)
    samples = 1152 if first or layer == 2 else 576
    return Frame(rate_hz, samples, samples // 8 * bits // rate_hz + padding)


def _first_frame(head: bytes, *, at_end: bool) -> int | None:
    """Return where the first frame begins that two alike follow, or the end of the file."""
    at = head.find(b"\xff")
    while at >= 0:
        if _alike_follow(head, at, at_end):
            return at
        at = head.find(b"\xff", at + 1)
    return None


def _alike_follow(head: bytes, at: int, at_end: bool) -> bool:
    kind = head[at + 1 : at + 2]  # version and layer
    rate_hz = None
    for _ in range(3):
        frame = frame_at(head, at)
        if frame is None or head[at + 1 : at + 2] != kind or frame.rate_hz != (rate_hz or frame.rate_hz):
            return False
        rate_hz = frame.rate_hz
        at += frame.frame_bytes
        if at_end and at == len(head):
            return True
    return True


def _stated(frame: bytes) -> tuple[int | None, int | None]:
    """Return the frames and bytes that the first frame says the stream has, this one included in the bytes alone."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name, 4, 60)
        if at > 0 and len(frame) >= at + 16:
            flags, *numbers = struct.unpack_from(">III", frame, at + 4)
            fields = iter(numbers)
            frames = next(fields) if flags & 1 else None
            return frames, next(fields) if flags & 2 else None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        stream_bytes, frames = struct.unpack_from(">II", frame, 46)
        return frames, stream_bytes
    return None, None


def after_id3(file: BufferedIOBase) -> int:
    """Return where the ID3v2 tags at the beginning of a file end."""
    end = 0
    while True:
        file.seek(end)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return end
        # Four bytes of seven bits; bit 4 of the flags: a footer as long as the header.
        length = sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(tag[6:]))
        end += 10 + length + (10 if tag[5] & 16 else 0)
