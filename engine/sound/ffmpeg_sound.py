"""Sound that libsndfile does not read, through FFmpeg (PyAV): AAC, ALAC, WMA, AMR, Matroska, sound tracks of video ...

S samples, C channels. PyAV is imported when the first such file comes: the fast path does not pay for it.
"""

import re
from collections.abc import Iterator
from io import BufferedIOBase

import numpy as np
from jaxtyping import Float32

from audio_tokens.errors import ClipError

# Kinds whose container states how long the sound is; the others' lengths are FFmpeg's estimates.
STATED = ("mov", "matroska", "asf", "flac", "ogg", "wav", "avi", "aiff", "caf", "au", "w64", "wv", "ape", "tta")
DURATION = re.compile(r"(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d*)?)")  # what Matroska states
# Full scale of integer samples; FFmpeg's 24 bits come in the upper part of 32.
FULL_SCALE = {"s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


def ffmpeg_blocks(
    file: BufferedIOBase, demuxers: str, *, lenient: bool, block_values: int
) -> Iterator[tuple[int, Float32[np.ndarray, "S C"], float | None]]:
    """Yield blocks of about `block_values` values (samples x channels) with their rate in Hz and the seconds that
    the container states.

    `demuxers` are the only ones that may be tried, separated by commas: none that would open other files. With
    `lenient`, frames that cannot be decoded are passed over.

    Raises ClipError where the file cannot be opened, holds no sound, or a frame cannot be decoded.
    """
    import av

    try:
        with av.open(file, options={"format_whitelist": demuxers}, metadata_errors="ignore") as container:
            stream = container.streams.best("audio")
            if stream is None:
                raise ClipError("no sound track")
            stated_s = _stated_seconds(container, stream)
            held: list[np.ndarray] = []
            held_values, kind = 0, (0, 0)
            for frame in _frames(container, stream, lenient):
                frame_SC = _float_samples(frame)
                if held and (kind != (frame.sample_rate, frame_SC.shape[1]) or held_values >= block_values):
                    yield kind[0], np.concatenate(held), stated_s
                    held, held_values = [], 0
                kind = frame.sample_rate, frame_SC.shape[1]
                held.append(frame_SC)
                held_values += frame_SC.size
            if held:
                yield kind[0], np.concatenate(held), stated_s
    except (av.error.FFmpegError, EOFError) as error:  # its str() names the file object
        words = getattr(error, "strerror", None) or type(error).__name__
        raise ClipError(f"cannot be decoded: {words}") from None


def _frames(container, stream, lenient: bool) -> Iterator:
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            if not lenient:
                raise


def _float_samples(frame) -> Float32[np.ndarray, "S C"]:
    """Return a frame's samples at full scale -1..1, whatever their format."""
    array, name = frame.to_ndarray(), frame.format.name.removesuffix("p")
    array_SC = array.T if frame.format.is_planar else array.reshape(frame.samples, -1)
    if name in FULL_SCALE:
        return array_SC.astype(np.float32) * np.float32(1 / FULL_SCALE[name])
    if name == "u8":
        return array_SC.astype(np.float32) / 128 - 1
    return array_SC.astype(np.float32)


def _stated_seconds(container, stream) -> float | None:
    if container.format.name.split(",")[0] not in STATED:
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = dict(stream.metadata).get("DURATION", "")  # Matroska: 00:00:03.001000000
    if found := DURATION.fullmatch(tag):
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds
    alone = len(container.streams) == 1  # else the container's is that of its longest stream
    return container.duration / 1e6 if alone and container.duration else None
