import numpy as np
import pytest

from audio_tokens.engine.codebook.token_quality import (
    entropy_bits,
    entropy_rate_bits,
    label_information_bits,
    run_lengths,
    variance_explained,
    zipf_slope,
)


def flat(*clips):
    ids_P = np.concatenate([np.array(clip, np.uint16) for clip in clips])
    return ids_P, np.concatenate([[0], np.cumsum([len(clip) for clip in clips])])


def test_entropy_of_even_and_of_one_sided_use():
    assert entropy_bits(np.array([5, 5, 5, 5, 0])) == pytest.approx(2)
    assert entropy_bits(np.array([0, 9, 0])) == 0


def test_zipfs_law_has_slope_minus_one_and_even_use_none():
    assert zipf_slope((1e7 / np.arange(1, 1000)).astype(np.int64)) == pytest.approx(-1, abs=0.01)
    assert zipf_slope(np.full(50, 7)) == pytest.approx(0, abs=1e-9)


def test_runs_end_with_their_clip():
    assert run_lengths(*flat([1, 1, 2], [2, 2, 2], [3])).tolist() == [2, 1, 3, 1]


def test_a_token_that_follows_from_the_last_has_no_entropy_rate_and_a_coin_has_one_bit():
    assert entropy_rate_bits(*flat([0, 1, 2, 0, 1, 2, 0], [1, 2, 0, 1]), 3) == pytest.approx(0, abs=1e-9)
    coin = np.random.default_rng(0).integers(0, 2, 20_000)
    assert entropy_rate_bits(*flat(coin), 2) == pytest.approx(1, abs=0.01)


def test_label_information_is_all_or_nothing_at_the_ends():
    tells = flat([0, 0, 1], [2, 3, 3])
    says_nothing = flat([0, 1], [0, 1])
    one_label = np.eye(2, dtype=bool)
    assert label_information_bits(*tells, one_label, 4) == pytest.approx(1)
    assert label_information_bits(*says_nothing, one_label, 4) == pytest.approx(0, abs=1e-9)
    several = np.array([[True, True], [False, False]])
    assert label_information_bits(*tells, several, 4) == pytest.approx(2)


def test_variance_explained_is_one_where_nothing_is_left_and_none_by_the_mean():
    x_ND = np.random.default_rng(0).normal(size=(100, 3))
    assert variance_explained(x_ND, x_ND) == 1
    assert variance_explained(x_ND, np.broadcast_to(x_ND.mean(axis=0), x_ND.shape)) == pytest.approx(0)
