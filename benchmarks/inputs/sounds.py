"""Sound to measure on: noise, soundscapes, and real clips where AUDIO_TOKENS_DATA names them. S samples."""

import os
from pathlib import Path

import numpy as np

from audio_tokens.engine.sound.decode import decode, resample
from audio_tokens.seeds import generator
from audio_tokens.shards.sources.soundscapes.soundscapes import Soundscapes


def noise(count: int, *, seconds: float, rate_hz: int) -> list[np.ndarray]:
    """Return float32 waves of white noise at a quarter of full scale."""
    rng = generator(0, "bench noise")
    return [rng.standard_normal(round(seconds * rate_hz), np.float32) / 4 for _ in range(count)]


def soundscapes(count: int, *, seconds: float, rate_hz: int) -> list[np.ndarray]:
    """Return the first soundscapes clips of that length."""
    clips = map(Soundscapes(clips=count, clip_s=seconds).clip, range(count))
    waves = ((clip.wave_S, clip.rate_hz) for clip in clips)
    return [resample(wave_S, rate, rate_hz) for wave_S, rate in waves if wave_S is not None and rate is not None]


def esc10(count: int, *, rate_hz: int, by_class: bool = False) -> list[np.ndarray]:
    """Return real clips of 5 s, spread over folds (or over classes, in their order); none where there is no ESC-10."""
    named = os.environ.get("AUDIO_TOKENS_DATA")
    folder = Path(named) / "esc10" / "audio" if named else None
    if folder is None or not folder.is_dir():
        return []
    # 1-137-A-32.wav is of fold 1 and class 32
    files = sorted(folder.iterdir(), key=lambda file: (int(file.stem.split("-")[3]) if by_class else 0, file.name))
    chosen = [files[index * len(files) // count] for index in range(count)]
    return [resample(*decode(file.read_bytes()), rate_hz) for file in chosen]
