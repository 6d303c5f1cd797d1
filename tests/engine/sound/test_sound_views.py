"""Views: a function of their draws, as far from the clip as the configuration says and no further."""

import numpy as np
import pytest

from audio_tokens.engine.sound.sound_views import level, mixed, view
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import UserError

RATE_HZ = 16_000
PLAIN = {"speed": 0.0, "gain_db": 0.0, "tilt_db": 0.0, "noise_db": 0.0, "roll": False}


def noise(samples: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=samples).astype(np.float32) * np.float32(0.1)


def test_the_same_draws_make_the_same_view_and_others_another():
    wave_S = noise()
    first, again = (view(wave_S, RATE_HZ, ViewConfig(), np.random.default_rng(1)) for _ in range(2))
    other = view(wave_S, RATE_HZ, ViewConfig(), np.random.default_rng(2))
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1] != other[1]
    assert first[0].dtype == np.float32
    assert first[0].shape == wave_S.shape


def test_without_any_extent_a_view_is_the_clip():
    wave_S = noise(16_001)  # an odd length comes back whole too
    found_S, played_hz = view(wave_S, RATE_HZ, ViewConfig(**PLAIN), np.random.default_rng(0))
    assert played_hz == RATE_HZ
    np.testing.assert_allclose(found_S, wave_S, atol=1e-6)


def test_the_extents_bound_what_is_drawn():
    wave_S = noise()
    for seed in range(50):
        rng = np.random.default_rng(seed)
        _, played_hz = view(wave_S, RATE_HZ, ViewConfig(**PLAIN | {"speed": 0.1}), rng)
        assert RATE_HZ / 1.1 <= played_hz <= RATE_HZ * 1.1
        louder_S, _ = view(wave_S, RATE_HZ, ViewConfig(**PLAIN | {"gain_db": 6.0}), rng)
        assert abs(20 * np.log10(level(louder_S) / level(wave_S))) <= 6.001
        noisy_S, _ = view(wave_S, RATE_HZ, ViewConfig(**PLAIN | {"noise_db": 30.0}), rng)
        below_db = 20 * np.log10(level(wave_S) / level(noisy_S - wave_S))
        assert 29.8 < below_db < 50.2


def test_a_roll_keeps_every_sample():
    wave_S = noise()
    rolled_S, _ = view(wave_S, RATE_HZ, ViewConfig(**PLAIN | {"roll": True}), np.random.default_rng(3))
    assert not np.allclose(rolled_S, wave_S, atol=1e-3)
    np.testing.assert_allclose(np.sort(rolled_S), np.sort(wave_S), atol=1e-6)


def test_a_tilt_is_so_many_db_an_octave():
    seconds_S = np.arange(RATE_HZ) / RATE_HZ
    config = ViewConfig(**PLAIN | {"tilt_db": 3.0})
    gains_db = [
        20 * np.log10(level(view(tone_S, RATE_HZ, config, np.random.default_rng(5))[0]) / level(tone_S))
        for hz in (500, 1000, 2000, 4000)
        for tone_S in [np.sin(2 * np.pi * hz * seconds_S).astype(np.float32)]
    ]
    slope_db = gains_db[2] - gains_db[1]
    assert 0 < abs(slope_db) <= 3
    np.testing.assert_allclose(np.diff(gains_db), slope_db, atol=1e-2)
    assert abs(gains_db[1]) < 1e-2  # nothing at the pivot


def test_silence_stays_silence():
    silent_S = np.zeros(1000, np.float32)
    assert not view(silent_S, RATE_HZ, ViewConfig(), np.random.default_rng(0))[0].any()
    assert mixed(silent_S, RATE_HZ, noise(), RATE_HZ, 0.7) is silent_S
    clip_S = noise()
    assert mixed(clip_S, RATE_HZ, silent_S, RATE_HZ, 0.7) is clip_S


@pytest.mark.parametrize("other_hz", [8_000, RATE_HZ])
def test_mixed_clips_are_heard_by_their_shares_whatever_their_levels(other_hz):
    mine_S, theirs_S = noise(seed=1), 30 * noise(other_hz // 2, seed=2)
    both_S = mixed(mine_S, RATE_HZ, theirs_S, other_hz, 0.8)
    assert both_S.dtype == np.float32
    assert both_S.shape == mine_S.shape
    mine = float(both_S @ mine_S) / float(mine_S @ mine_S)  # the two hardly correlate
    rest_S = both_S - np.float32(mine) * mine_S
    assert mine == pytest.approx(0.8 / np.hypot(0.8, 0.2), abs=0.02)
    assert level(rest_S) / level(mine_S) == pytest.approx(0.2 / np.hypot(0.8, 0.2), abs=0.03)


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": 256}, {"speed": 1.0}, {"noise_db": -1.0}, {"mix": 1.5}])
def test_a_value_out_of_range_is_named(wrong):
    (name,) = wrong
    with pytest.raises(UserError, match=rf"views\.{name} "):
        ViewConfig(**wrong)
