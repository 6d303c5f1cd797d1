"""The sixteen sounds that soundscapes are made of, each from named synthesis.

Axes: S samples, K partials.

A voice is a function (rng, samples) -> wave_S float32; it draws its own pitch, rate and colour, at any scale.
Two pairs differ only in temporal order: `falling_chirp` is `rising_chirp` played backwards, `high_low` is `low_high`
played backwards, from the same draws. So one pair's single frames are distributed alike, and no bag of them can tell
which of the two it holds.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Float32

RATE_HZ = 22_050

# Order events start (or end) here and span a fixed ratio, two octaves.
ORDER_LOW_HZ = (300.0, 400.0)
ORDER_SPAN = 4.0
# Strengths of the partials of an order event.
ORDER_PARTIALS_K = (1.0, 0.5, 0.3, 0.2)

Wave = Float32[np.ndarray, " S"]


def rising_chirp(rng: np.random.Generator, samples: int) -> Wave:
    """A gliding tone with four partials: exponential in frequency, from 300-400 Hz up two octaves."""
    low_hz = rng.uniform(*ORDER_LOW_HZ)
    share_S = np.arange(samples, dtype=np.float32) / np.float32(samples)
    return _partials(low_hz * ORDER_SPAN**share_S, ORDER_PARTIALS_K, rng) * _bump(samples)


def falling_chirp(rng: np.random.Generator, samples: int) -> Wave:
    """`rising_chirp` played backwards."""
    return rising_chirp(rng, samples)[::-1]


def low_high(rng: np.random.Generator, samples: int) -> Wave:
    """Two steady tones of four partials, the second two octaves above the first, which has 300-400 Hz."""
    low_hz = rng.uniform(*ORDER_LOW_HZ)
    first = samples // 2
    tones = [
        _partials(np.full(n, hz, np.float32), ORDER_PARTIALS_K, rng) * _bump(n)
        for n, hz in ((first, low_hz), (samples - first, low_hz * ORDER_SPAN))
    ]
    return np.concatenate(tones)


def high_low(rng: np.random.Generator, samples: int) -> Wave:
    """`low_high` played backwards."""
    return low_high(rng, samples)[::-1]


def hum(rng: np.random.Generator, samples: int) -> Wave:
    """Mains hum: many steady partials of 50 or 60 Hz."""
    pitch_hz = rng.choice([50.0, 60.0]) * rng.uniform(0.99, 1.01)
    return _partials(np.full(samples, pitch_hz, np.float32), [1 / k for k in range(1, 13)], rng) * _fades(samples)


def wind(rng: np.random.Generator, samples: int) -> Wave:
    """Low filtered noise whose strength wanders."""
    gust_S = _wander(rng, samples, rate_hz=1.5)
    return _noise(rng, samples, low_hz=40.0, high_hz=rng.uniform(300, 500)) * gust_S * _fades(samples)


def rain(rng: np.random.Generator, samples: int) -> Wave:
    """High filtered noise under dense drops (a thousand clicks a second)."""
    drops_S = np.where(rng.random(samples, np.float32) < 1_000 / RATE_HZ, rng.random(samples, np.float32), 0) * 4
    return _filter(rng.standard_normal(samples, np.float32) * 0.3 + drops_S, 2_000.0, 9_000.0) * _fades(samples)


def motor(rng: np.random.Generator, samples: int) -> Wave:
    """Partials of a low pulse with amplitude modulation at half its rate."""
    pitch_hz = rng.uniform(70, 110)
    time_S = _time(samples)
    throb_S = 1 + 0.8 * np.sin(2 * np.pi * pitch_hz / 8 * time_S)
    return (
        _partials(np.full(samples, pitch_hz, np.float32), [0.8**k for k in range(20)], rng) * throb_S * _fades(samples)
    )


def vowel(rng: np.random.Generator, samples: int) -> Wave:
    """A voice: a pulse of 110-180 Hz with vibrato, through the three formants of an open vowel."""
    pitch_hz = rng.uniform(110, 180)
    pitch_hz_S = pitch_hz * (1 + 0.02 * np.sin(2 * np.pi * 5.5 * _time(samples)))
    formants = ((1.0, 750, 80), (0.6, 1_250, 90), (0.3, 2_600, 120))
    strength_K = [
        sum(gain / (1 + ((pitch_hz * k - centre_hz) / width_hz) ** 2) for gain, centre_hz, width_hz in formants)
        for k in range(1, 26)
    ]
    return _partials(pitch_hz_S.astype(np.float32), strength_K, rng) * _fades(samples)


def bell(rng: np.random.Generator, samples: int) -> Wave:
    """A struck bell: inharmonic partials that die away, the higher the sooner."""
    strike_hz = rng.uniform(500, 800)
    time_S = _time(samples)
    wave_S = np.zeros(samples, np.float32)
    for ratio in (1.0, 2.76, 5.40, 8.93):  # the modes of a free bar
        wave_S += np.sin(2 * np.pi * strike_hz * ratio * time_S) * np.exp(-time_S * np.float32(2 * ratio)) / ratio
    return wave_S


def siren(rng: np.random.Generator, samples: int) -> Wave:
    """Frequency modulation: a tone that swings between about 900 and 1,500 Hz three times a second."""
    swing_S = np.sin(2 * np.pi * rng.uniform(2.5, 3.5) * _time(samples) + np.float32(rng.uniform(0, 2 * np.pi)))
    return _partials(np.float32(1_200) + np.float32(300) * swing_S, (1.0, 0.0, 0.4), rng) * _fades(samples)


def ticking(rng: np.random.Generator, samples: int) -> Wave:
    """A clock: short bright clicks, six to nine a second."""
    return _strikes(rng, samples, every_s=1 / rng.uniform(6, 9), ring_hz=(3_000.0, 5_000.0), decay_s=0.004)


def cricket(rng: np.random.Generator, samples: int) -> Wave:
    """Amplitude modulation: a tone near 4.5 kHz in pulses, 30 a second, in bursts."""
    time_S = _time(samples)
    pulses_S = np.maximum(0, np.sin(2 * np.pi * rng.uniform(25, 35) * time_S)) ** 2
    bursts_S = np.sin(2 * np.pi * rng.uniform(2, 3) * time_S) > -0.3
    return np.sin(2 * np.pi * rng.uniform(4_200, 4_800) * time_S) * pulses_S * bursts_S * _fades(samples)


def knock(rng: np.random.Generator, samples: int) -> Wave:
    """Knuckles on wood: damped low resonances, four or five a second."""
    return _strikes(rng, samples, every_s=1 / rng.uniform(4, 5), ring_hz=(150.0, 350.0), decay_s=0.03)


def beeps(rng: np.random.Generator, samples: int) -> Wave:
    """An alarm clock: a square-like tone of 2-2.4 kHz, on and off."""
    gate_S = np.sin(2 * np.pi * rng.uniform(4, 6) * _time(samples)) > 0
    return _partials(np.full(samples, rng.uniform(2_000, 2_400), np.float32), (1.0, 0.0, 0.33), rng) * gate_S


def whistle(rng: np.random.Generator, samples: int) -> Wave:
    """A bird: short high glides, up and down alike, between 2.6 and 3.6 kHz."""
    glide_S = np.sin(2 * np.pi * rng.uniform(4, 6) * _time(samples)) ** 2
    return _partials(np.float32(2_600) + np.float32(1_000) * glide_S, (1.0,), rng) * glide_S * _fades(samples)


class Voice(NamedTuple):
    """How a class sounds and how often: `weight` is its chance among the events that are no order event."""

    play: Callable[[np.random.Generator, int], Wave]
    shortest_s: float
    longest_s: float
    weight: float


# From one clip in four down to about one in a hundred: a long tail, as real labels have.
_RATIO = 0.745
VOICES: dict[str, Voice] = {
    "wind": Voice(wind, 1.5, 3.5, _RATIO**0),
    "vowel": Voice(vowel, 0.6, 1.8, _RATIO**1),
    "motor": Voice(motor, 1.0, 3.0, _RATIO**2),
    "rain": Voice(rain, 1.5, 3.5, _RATIO**3),
    "hum": Voice(hum, 1.5, 3.5, _RATIO**4),
    "bell": Voice(bell, 0.8, 2.0, _RATIO**5),
    "ticking": Voice(ticking, 1.0, 3.0, _RATIO**6),
    "cricket": Voice(cricket, 1.0, 2.5, _RATIO**7),
    "siren": Voice(siren, 1.0, 2.5, _RATIO**8),
    "knock": Voice(knock, 0.8, 1.6, _RATIO**9),
    "beeps": Voice(beeps, 0.8, 2.0, _RATIO**10),
    "whistle": Voice(whistle, 0.6, 1.5, _RATIO**11),
}
ORDER_VOICES: dict[str, Voice] = {
    "rising-chirp": Voice(rising_chirp, 0.7, 1.2, 0.0),
    "falling-chirp": Voice(falling_chirp, 0.7, 1.2, 0.0),
    "low-high": Voice(low_high, 0.7, 1.2, 0.0),
    "high-low": Voice(high_low, 0.7, 1.2, 0.0),
}


def coloured_noise(rng: np.random.Generator, samples: int) -> Wave:
    """Noise of unit RMS whose power falls as 1 / frequency^a, a drawn from 0 (white) to 1 (pink)."""
    bins = samples // 2 + 1
    spectrum_W = rng.standard_normal((bins, 2), np.float32).view(np.complex64)[:, 0]
    exponent = rng.uniform(0.0, 1.0)
    bin_hz_W = np.arange(1, bins + 1, dtype=np.float32) * np.float32(RATE_HZ / samples)
    # Flat below 40 Hz, or a pink clip would be all rumble.
    spectrum_W *= np.maximum(bin_hz_W, np.float32(40)) ** np.float32(-exponent / 2)
    wave_S = scipy.fft.irfft(spectrum_W, samples)
    return wave_S / np.float32(np.sqrt(np.mean(np.square(wave_S)) + 1e-30))


def _time(samples: int) -> Wave:
    """Seconds from the start."""
    return np.arange(samples, dtype=np.float32) / np.float32(RATE_HZ)


def _partials(pitch_hz_S: Wave, strengths_K: Sequence[float], rng: np.random.Generator) -> Wave:
    """Sum of sines at 1, 2, 3 ... times a pitch that may glide, from a random phase; none above 10 kHz."""
    # Whole turns are taken off in float64: a float32 phase of 1,000 turns would hiss.
    turns_S = (np.cumsum(pitch_hz_S, dtype=np.float64) / RATE_HZ + rng.uniform()) % 1.0
    angle_S = turns_S.astype(np.float32) * np.float32(2 * np.pi)
    highest_hz = float(pitch_hz_S.max(initial=1.0))
    # sin(k a) = 2 cos(a) sin((k - 1) a) - sin((k - 2) a): twenty times cheaper than a sine for each partial.
    twice_cos_S, before_S, partial_S = 2 * np.cos(angle_S), np.zeros_like(angle_S), np.sin(angle_S)
    wave_S = partial_S * np.float32(strengths_K[0])
    for number, strength in enumerate(strengths_K[1:], 2):
        if number * highest_hz > 10_000:
            break
        before_S, partial_S = partial_S, twice_cos_S * partial_S - before_S
        if strength:
            wave_S += partial_S * np.float32(strength)
    return wave_S


def _fades(samples: int, fade_s: float = 0.03) -> Wave:
    """Ones with a linear fade at both ends."""
    ramp_S = np.arange(1, samples + 1, dtype=np.float32) / np.float32(fade_s * RATE_HZ)
    return np.minimum(1, np.minimum(ramp_S, ramp_S[::-1]))


def _bump(samples: int) -> Wave:
    """An envelope that is its own reversal: an order event shall not betray its direction by its loudness."""
    return _fades(samples, fade_s=0.02)


def _wander(rng: np.random.Generator, samples: int, *, rate_hz: float) -> Wave:
    """A strength between 0.2 and 1 that changes `rate_hz` times a second."""
    knots = max(4, int(samples / RATE_HZ * rate_hz) + 2)
    at_S = np.linspace(0, knots - 1, samples)
    return np.interp(at_S, np.arange(knots), rng.uniform(0.2, 1, knots)).astype(np.float32)


def _filter(wave_S: Wave, low_hz: float, high_hz: float) -> Wave:
    """Band-pass by the spectrum, with slopes a third of an octave wide."""
    length = scipy.fft.next_fast_len(len(wave_S), real=True)
    spectrum_W = scipy.fft.rfft(wave_S, length)
    octave_W = np.log2(np.maximum(np.arange(len(spectrum_W)) * (RATE_HZ / length), 1.0))
    gain_W = np.clip(3 * (octave_W - np.log2(low_hz)) + 1, 0, 1) * np.clip(3 * (np.log2(high_hz) - octave_W) + 1, 0, 1)
    return scipy.fft.irfft(spectrum_W * gain_W.astype(np.float32), length)[: len(wave_S)]


def _noise(rng: np.random.Generator, samples: int, *, low_hz: float, high_hz: float) -> Wave:
    return _filter(rng.standard_normal(samples, np.float32), low_hz, high_hz)


def _strikes(
    rng: np.random.Generator, samples: int, *, every_s: float, ring_hz: tuple[float, float], decay_s: float
) -> Wave:
    """Evenly spaced strikes, each three damped resonances somewhere in `ring_hz`."""
    time_S = _time(int(decay_s * 8 * RATE_HZ))
    strike_S = sum(np.sin(2 * np.pi * hz * time_S) for hz in rng.uniform(*ring_hz, 3)) * np.exp(-time_S / decay_s)
    wave_S = np.zeros(samples + len(strike_S), np.float32)
    for start in np.arange(0, samples, every_s * RATE_HZ).astype(int):
        wave_S[start : start + len(strike_S)] += strike_S * np.float32(rng.uniform(0.7, 1))
    return wave_S[:samples]
