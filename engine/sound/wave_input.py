"""A wave as a caller hands it over: checked, and mixed to one channel. S samples, C channels."""

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.sound.decode import RATES_HZ
from audio_tokens.errors import UserError


def mono(wave: np.ndarray, rate_hz: float) -> Float32[np.ndarray, " S"]:
    """Return the mean of the channels of `wave`, floats [S] or [C, S] with full scale at -1..1.

    Raises UserError for integers, for another number of axes, for [S, C], for no samples and for a rate that no sound
    has.
    """
    wave = np.asarray(wave)
    if wave.dtype.kind != "f":
        raise UserError(f"wave of {wave.dtype}; give floats with full scale at -1..1 (int16 / 32768)")
    if wave.ndim not in (1, 2) or not wave.size:
        raise UserError(f"wave of shape {wave.shape}; give [samples] or [channels, samples]")
    if wave.ndim == 2 and wave.shape[0] > wave.shape[1]:
        raise UserError(f"wave of shape {wave.shape}; give [channels, samples] (soundfile's is the transpose)")
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UserError(f"rate of {rate_hz} Hz; give the wave's own, from {RATES_HZ[0]} to {RATES_HZ[1]} Hz")
    return (wave if wave.ndim == 1 else wave.mean(axis=0)).astype(np.float32)
