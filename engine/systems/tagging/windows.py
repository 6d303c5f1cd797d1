"""Sound of any length as windows of one length, read in blocks so that memory does not grow with it.

S samples, C channels.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.sound.channels import Channels
from audio_tokens.engine.sound.decode import ALL, MonoStream, decode, resample, resampled
from audio_tokens.engine.sound.wave_input import mono
from audio_tokens.errors import UserError

LONG_BYTES = 4 << 20  # on disk: some 4 minutes of MP3, 90 MB once decoded

Sound = str | Path | bytes | tuple[np.ndarray, float]


class Window(NamedTuple):
    """A part of a sound at the front end's rate."""

    start_s: float
    wave_S: Float32[np.ndarray, " S"]


def windows(sound: Sound, rate_hz: int, window_samples: int, channels: Channels = "auto") -> Iterator[Window]:
    """Yield the windows of a sound at `rate_hz`: each overlaps the one before it by half, the last ends with the sound.

    A sound no longer than a window is one, shorter window. `sound` is a file's path or bytes, or a wave with its rate:
    see wave_input. `channels` says how those of a file become one; a file of more than LONG_BYTES is decoded in blocks,
    for which auto and loudest are the mean.
    Raises ClipError for what cannot be decoded, UserError for a path without a file or a wave that is none.
    """
    held_S, start, step = np.zeros(0, np.float32), 0, max(1, window_samples // 2)
    for block_S in _blocks(sound, rate_hz, channels):
        held_S = np.concatenate([held_S, block_S])
        while len(held_S) >= window_samples + step:
            yield Window(start / rate_hz, held_S[:window_samples])
            held_S, start = held_S[step:], start + step
    yield Window(start / rate_hz, held_S[:window_samples])
    if len(held_S) > window_samples:
        last = len(held_S) - window_samples
        yield Window((start + last) / rate_hz, held_S[last:])


def _blocks(sound: Sound, to_hz: int, channels: Channels) -> Iterable[Float32[np.ndarray, " S"]]:
    """Return a sound's samples at `to_hz`, in one block or, for a long file, in many."""
    if isinstance(sound, tuple):
        wave, from_hz = sound
        return [resample(mono(wave, from_hz), from_hz, to_hz)]
    if isinstance(sound, bytes):
        return [resample(*decode(sound, channels), to_hz)]
    path = Path(sound)
    if not path.is_file():
        raise UserError(f"there is no file {str(sound)!r}")
    if path.stat().st_size > LONG_BYTES:
        fixed = {"left": 0, "right": 1}.get(channels)
        return resampled(MonoStream(path, fixed, ALL, None, lambda: None), to_hz)
    return [resample(*decode(path, channels), to_hz)]
