"""Sound of any length as windows of one length, read in blocks so that memory does not grow with it.

S samples, C channels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from audio_tokens.engine.sound.decode import UNKNOWN_SAMPLES, decode, resample
from audio_tokens.engine.sound.wave_input import mono
from audio_tokens.errors import ClipError, UserError

LONG_SAMPLES = 1 << 24  # of all channels together: 3 minutes of stereo, 64 MB once decoded
BLOCK_SAMPLES = 1 << 20  # of all channels, 4 MB

Sound = str | Path | bytes | tuple[np.ndarray, float]


class Window(NamedTuple):
    """A part of a sound at the front end's rate."""

    start_s: float
    wave_S: Float32[np.ndarray, " S"]


def windows(sound: Sound, rate_hz: int, window_samples: int) -> Iterator[Window]:
    """Yield the windows of a sound at `rate_hz`: each overlaps the one before it by half, the last ends with the sound.

    A sound no longer than a window is one, shorter window. `sound` is a file's path or bytes, or a wave with its rate:
    see wave_input. A file of more than LONG_SAMPLES is decoded in blocks.
    Raises ClipError for what cannot be decoded, UserError for a path without a file or a wave that is none.
    """
    held_S, start, step = np.zeros(0, np.float32), 0, max(1, window_samples // 2)
    for block_S in _blocks(sound, rate_hz):
        held_S = np.concatenate([held_S, block_S])
        while len(held_S) >= window_samples + step:
            yield Window(start / rate_hz, held_S[:window_samples])
            held_S, start = held_S[step:], start + step
    yield Window(start / rate_hz, held_S[:window_samples])
    if len(held_S) > window_samples:
        last = len(held_S) - window_samples
        yield Window((start + last) / rate_hz, held_S[last:])


def _blocks(sound: Sound, to_hz: int) -> Iterable[Float32[np.ndarray, " S"]]:
    """Return a sound's samples at `to_hz`, in one block or, for a long file, in many."""
    if isinstance(sound, tuple):
        wave, from_hz = sound
        return [resample(mono(wave, from_hz), from_hz, to_hz)]
    if isinstance(sound, bytes):
        return [resample(*decode(sound), to_hz)]
    if not Path(sound).is_file():
        raise UserError(f"there is no file {str(sound)!r}")
    if _is_long(Path(sound)):
        return _resampled_blocks(Path(sound), to_hz)
    return [resample(*decode(Path(sound).read_bytes()), to_hz)]


def _is_long(path: Path) -> bool:
    try:
        with soundfile.SoundFile(path) as file:
            return LONG_SAMPLES < file.frames * file.channels < UNKNOWN_SAMPLES
    except soundfile.LibsndfileError:
        return False  # decode says what is wrong with it


def _resampled_blocks(path: Path, to_hz: int) -> Iterator[Float32[np.ndarray, " S"]]:
    with soundfile.SoundFile(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, to_hz, 1, dtype="float32", quality="HQ")
        promised, found = file.frames, 0
        while found < promised:
            try:
                block_SC = file.read(BLOCK_SAMPLES // file.channels, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise ClipError(f"cannot be decoded: {error.error_string}") from None
            found += len(block_SC)
            if not len(block_SC):
                raise ClipError(f"cut off: {found} of {promised} samples promised")
            yield resampler.resample_chunk(block_SC.mean(axis=1), last=found >= promised)
