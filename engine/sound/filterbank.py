"""Triangular filterbanks in numpy, equal to torchaudio's, so that a build worker need not import torch.

Axes: P points, F bands, W bins of the spectrum.

torchaudio defines them in float32, and a corner that differs in its last digit moves a band beside a loud partial by
2e-3 dB. So each step is computed in float64 and rounded to float32 where torchaudio rounds.
"""

import math

import numpy as np
from jaxtyping import Float32

SCALES = ("htk", "slaney", "linear")

# Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, then 27 steps for every factor of 6.4.
_SLANEY_STEP_HZ = 200 / 3
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE = _SLANEY_KNEE_HZ / _SLANEY_STEP_HZ
_SLANEY_LOG_STEP = math.log(6.4) / 27


def filterbank(
    *, scale: str, bins: int, bands: int, rate_hz: int, low_hz: float, high_hz: float
) -> Float32[np.ndarray, "W F"]:
    """Return the weights that turn a power spectrum into bands: spectrum_TW @ weights_WF.

    Args:
        scale: where the corners lie evenly: `htk` (peaks of 1), `slaney` (triangles of equal area, librosa's default)
            or `linear` in Hz (peaks of 1).
        bins: n_fft // 2 + 1.
        bands: number of triangles.
        rate_hz: sampling rate; the last bin stands for rate_hz // 2, as in torchaudio.
        low_hz: lower corner of the first triangle.
        high_hz: upper corner of the last triangle.

    Source: torchaudio.functional.melscale_fbanks and linear_fbanks.
    """
    bin_hz_W = _linspace(0.0, float(rate_hz // 2), bins)
    corner_hz_P = _to_hz(_linspace(_from_hz(low_hz, scale), _from_hz(high_hz, scale), bands + 2), scale)
    width_hz_P = np.diff(corner_hz_P)
    rising_WF = (bin_hz_W[:, None] - corner_hz_P[:-2]) / width_hz_P[:-1]
    falling_WF = (corner_hz_P[2:] - bin_hz_W[:, None]) / width_hz_P[1:]
    weights_WF = np.maximum(np.float32(0), np.minimum(rising_WF, falling_WF))
    if scale == "slaney":
        weights_WF *= np.float32(2) / (corner_hz_P[2:] - corner_hz_P[:-2])
    return weights_WF


def _linspace(start: float, stop: float, points: int) -> Float32[np.ndarray, " P"]:
    """Evenly spaced float32 points as torch.linspace rounds them: from both ends, with a step rounded to float32."""
    first, last = np.float32(start), np.float32(stop)
    step = np.float64((last - first) / np.float32(points - 1))
    index_P = np.arange(points)
    from_start_P = np.float64(first) + step * index_P
    from_stop_P = np.float64(last) - step * (points - 1 - index_P)
    return np.where(index_P < points // 2, from_start_P, from_stop_P).astype(np.float32)


def _from_hz(hz: float, scale: str) -> float:
    if scale == "htk":
        return 2595 * math.log10(1 + hz / 700)
    if scale == "slaney":
        if hz < _SLANEY_KNEE_HZ:
            return hz / _SLANEY_STEP_HZ
        return _SLANEY_KNEE + math.log(hz / _SLANEY_KNEE_HZ) / _SLANEY_LOG_STEP
    return hz


def _to_hz(points_P: Float32[np.ndarray, " P"], scale: str) -> Float32[np.ndarray, " P"]:
    if scale == "htk":
        exponent_P = (points_P / np.float32(2595)).astype(np.float64)
        return np.float32(700) * ((10**exponent_P).astype(np.float32) - np.float32(1))
    if scale == "slaney":
        above_P = np.maximum(points_P - np.float32(_SLANEY_KNEE), np.float32(0))
        factor_P = np.exp((np.float32(_SLANEY_LOG_STEP) * above_P).astype(np.float64)).astype(np.float32)
        return np.where(
            points_P < _SLANEY_KNEE, np.float32(_SLANEY_STEP_HZ) * points_P, np.float32(_SLANEY_KNEE_HZ) * factor_P
        )
    return points_P
