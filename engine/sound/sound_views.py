"""Views of a sound: the same clip played, placed and coloured a little otherwise, so that few clips teach like many.

Augmentation happens before tokens, which are small enough that every view of every clip can be kept. S samples.
"""

import numpy as np
import scipy.fft
from jaxtyping import Float32

from audio_tokens.engine.sound.decode import resample
from audio_tokens.engine.sound.view_config import ViewConfig

PIVOT_HZ = 1000.0  # where a tilt leaves the level as it is


def view(
    wave_S: Float32[np.ndarray, " S"], rate_hz: float, config: ViewConfig, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, " S"], float]:
    """Return one view of a mono wave, and the rate in Hz at which it is to be played.

    As many samples come back as went in: faster or slower is a matter of the rate, within `rate_hz` x (1 +- speed). So
    changing the speed costs nothing beside the resampling that a front end does anyhow. Silence stays silence.
    """
    played_hz = rate_hz * (1 + config.speed) ** rng.uniform(-1, 1)
    if config.roll:
        wave_S = np.roll(wave_S, int(rng.integers(len(wave_S))))
    wave_S = _tilted(wave_S, rate_hz, rng.uniform(-config.tilt_db, config.tilt_db))
    if config.noise_db:
        below_db = config.noise_db + rng.uniform(0, 20)
        noise_S = rng.standard_normal(len(wave_S), dtype=np.float32)
        wave_S = wave_S + noise_S * np.float32(level(wave_S) * 10 ** (-below_db / 20))
    gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
    return wave_S * np.float32(gain), played_hz


def mixed(
    wave_S: Float32[np.ndarray, " S"], rate_hz: float, other_S: Float32[np.ndarray, " R"], other_hz: float, share: float
) -> Float32[np.ndarray, " S"]:
    """Return `wave_S` with another clip in it, heard to `share` and 1 - `share` at equal loudness, at its own level.

    The other one is repeated or cut to length. Where either is silent there is nothing to mix, and `wave_S` comes back.
    Between-class learning: Tokozume et al., "Learning from between-class examples for deep sound recognition", 2018.
    """
    mine, theirs = level(wave_S), level(other_S)
    if mine == 0 or theirs == 0:
        return wave_S
    other_S = np.resize(resample(other_S, other_hz, rate_hz), len(wave_S))
    both_S = share * wave_S + (1 - share) * (mine / theirs) * other_S
    return (both_S / np.hypot(share, 1 - share)).astype(np.float32)


def level(wave_S: Float32[np.ndarray, " S"]) -> float:
    """Return the root of the mean square of a wave."""
    return float(np.sqrt(np.mean(np.square(wave_S), dtype=np.float64)))


def _tilted(wave_S: Float32[np.ndarray, " S"], rate_hz: float, tilt_db: float) -> Float32[np.ndarray, " S"]:
    """Raise the spectrum by `tilt_db` every octave above PIVOT_HZ and lower it below, as far down as 20 Hz."""
    padded = scipy.fft.next_fast_len(len(wave_S), real=True)
    hz_W = np.maximum(scipy.fft.rfftfreq(padded, 1 / rate_hz), 20.0)
    gain_W = ((hz_W / PIVOT_HZ) ** (tilt_db / (20 * np.log10(2)))).astype(np.float32)
    return scipy.fft.irfft(scipy.fft.rfft(wave_S, padded) * gain_W, padded)[: len(wave_S)]
