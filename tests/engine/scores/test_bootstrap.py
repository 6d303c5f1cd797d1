"""Laws of intervals: weights are repetitions, samples are shared, a real difference is told from none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.scores.bootstrap import (
    difference,
    interval,
    over_seeds,
    replicates,
    weighted_average_precision,
)
from audio_tokens.engine.scores.metrics import ranking, score


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), clips=st.integers(2, 25))
def test_a_clip_that_counts_twice_is_a_clip_given_twice(seed: int, clips: int) -> None:
    rng = np.random.default_rng(seed)
    scores_CL, targets_CL = rng.normal(size=(clips, 3)).round(1), rng.random((clips, 3)) < 0.4
    counts_RC = rng.multinomial(clips, np.full(clips, 1 / clips), size=4)
    ap_RL = weighted_average_precision(scores_CL, targets_CL, counts_RC)
    for counts_C, ap_L in zip(counts_RC, ap_RL, strict=True):
        rows = np.repeat(np.arange(clips), counts_C)
        np.testing.assert_allclose(ap_L, ranking(scores_CL[rows], targets_CL[rows])[0])


def test_intervals_hold_the_figure_and_shrink_with_clips() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for clips in (100, 1600):
        targets_CL = np.eye(4, dtype=bool)[rng.integers(4, size=clips)]
        scores_CL = targets_CL + rng.normal(size=(clips, 4)) * 0.8
        again = replicates(scores_CL, targets_CL, count=300)
        figures = score(scores_CL, targets_CL)
        for name, figures_R in again.items():
            low, high = interval(figures_R)
            assert low < getattr(figures, name) < high
        widths.append(np.ptp(interval(again["accuracy"])))
        p = figures.accuracy
        assert again["accuracy"].std() == pytest.approx((p * (1 - p) / clips) ** 0.5, rel=0.2)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


def test_a_real_difference_is_told_from_none() -> None:
    rng = np.random.default_rng(1)
    targets_CL = np.eye(4, dtype=bool)[rng.integers(4, size=300)]
    noise_CL = rng.normal(size=(300, 4))
    poor, same, good = targets_CL + noise_CL, targets_CL + noise_CL * 1.0, targets_CL * 2.0 + noise_CL
    a, b, c = (replicates(scores_CL, targets_CL, count=200)["accuracy"] for scores_CL in (poor, same, good))
    assert difference(a, b, 0.0).p == 1.0
    value = score(good, targets_CL).accuracy - score(poor, targets_CL).accuracy
    found = difference(a, c, value)
    assert found.p < 0.02
    assert 0 < found.low < value < found.high


def test_a_group_is_drawn_whole_so_clips_that_are_alike_tell_less() -> None:
    """Ten speakers, each either understood or not: a hundred clips tell as much as ten."""
    rng = np.random.default_rng(2)
    targets_CL = np.eye(2, dtype=bool)[rng.integers(2, size=100)]
    speakers = [f"speaker {clip // 10}" for clip in range(100)]
    right_C = np.repeat(np.arange(10) % 2 == 0, 10)
    scores_CL = np.where(right_C[:, None], targets_CL, ~targets_CL).astype(np.float32)
    alone_R = replicates(scores_CL, targets_CL, count=2000)["accuracy"]
    together_R = replicates(scores_CL, targets_CL, groups=speakers, count=2000)["accuracy"]
    assert alone_R.std() == pytest.approx(0.05, rel=0.1)  # sqrt(0.5 x 0.5 / 100)
    assert together_R.std() == pytest.approx(0.5 / 10**0.5, rel=0.1)
    assert set(np.round(10 * together_R, 6)) <= set(range(11))
    one_each = replicates(scores_CL, targets_CL, groups=[f"{clip:03}" for clip in range(100)], count=2000)
    np.testing.assert_array_equal(one_each["accuracy"], alone_R)


def test_seeds_are_a_source_of_variance() -> None:
    figures_SR = np.broadcast_to([[0.2], [0.4], [0.6]], (3, 20_000))
    again_R = over_seeds(figures_SR)
    assert again_R.shape == (20_000,)
    assert again_R.mean() == pytest.approx(0.4, abs=0.005)
    assert again_R.std() == pytest.approx(np.std([0.2, 0.4, 0.6]) / 3**0.5, rel=0.05)
    np.testing.assert_array_equal(over_seeds(figures_SR[:1]), figures_SR[0])
