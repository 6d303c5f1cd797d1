"""Laws of the figures: the slow definition gives the same, and a flattened prediction is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from audio_tokens.engine.scores.metrics import d_prime, ranking, score


def draw(seed: int, clips: int, labels: int, single: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores_CL = rng.normal(size=(clips, labels)).round(1)  # rounded: ties must not matter
    targets_CL = np.eye(labels, dtype=bool)[rng.integers(labels, size=clips)]
    return scores_CL, targets_CL if single else targets_CL | (rng.random((clips, labels)) < 0.3)


def slow_average_precision(scores_C: np.ndarray, targets_C: np.ndarray) -> float:
    """Mean over positives of the precision at that positive's score, ties counted together."""
    precisions = [targets_C[scores_C >= s].mean() for s, y in zip(scores_C, targets_C, strict=True) if y]
    return float(np.mean(precisions))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), clips=st.integers(2, 40), labels=st.integers(1, 6), single=st.booleans())
def test_figures_equal_their_definitions(seed: int, clips: int, labels: int, single: bool) -> None:
    scores_CL, targets_CL = draw(seed, clips, labels, single)
    figures = score(scores_CL, targets_CL)
    with_positives = [k for k in range(labels) if targets_CL[:, k].any()]
    slow = [slow_average_precision(scores_CL[:, k], targets_CL[:, k]) for k in with_positives]
    assert figures.mAP == pytest.approx(np.mean(slow))
    np.testing.assert_allclose(figures.ap_L[with_positives], slow)
    assert np.isnan(figures.ap_L).sum() == labels - len(with_positives)
    assert figures.positives_L.tolist() == targets_CL.sum(axis=0).tolist()
    one_label_each = bool((targets_CL.sum(axis=1) == 1).all())
    assert (figures.accuracy is not None) == one_label_each
    both = [k for k in with_positives if not targets_CL[:, k].all()]
    if both:
        wins = []
        for k in both:
            ahead = scores_CL[targets_CL[:, k], k][:, None] - scores_CL[~targets_CL[:, k], k][None]
            wins.append(((ahead > 0) + 0.5 * (ahead == 0)).mean())
        assert figures.mAUC == pytest.approx(np.mean(wins))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 9999),
    clips=st.integers(1, 400),
    digits=st.sampled_from([0, 1, 9]),
    share=st.sampled_from([0.02, 0.5, 0.98]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_figures_equal_those_of_scikit_learn_to_the_last_bit(
    seed: int, clips: int, digits: int, share: float, dtype: type
) -> None:
    rng = np.random.default_rng(seed)
    scores_CL, targets_CL = rng.normal(size=(clips, 3)).round(digits).astype(dtype), rng.random((clips, 3)) < share
    ap_L, auc_L = ranking(scores_CL, targets_CL)
    for label in range(3):
        y_C, s_C = targets_CL[:, label], scores_CL[:, label]
        assert np.isnan(ap_L[label]) if not y_C.any() else ap_L[label] == average_precision_score(y_C, s_C)
        one_kind = not y_C.any() or y_C.all()
        assert np.isnan(auc_L[label]) if one_kind else auc_L[label] == roc_auc_score(y_C, s_C)


def test_known_values() -> None:
    perfect = score(np.eye(3), np.eye(3, dtype=bool))
    assert (perfect.mAP, perfect.mAUC, perfect.accuracy, perfect.clips) == (1.0, 1.0, 1.0, 3)
    assert perfect.dprime == np.inf
    assert d_prime(0.5) == 0.0
    assert d_prime(0.973) == pytest.approx(2.725, abs=1e-3)  # PANNs CNN14 publishes AUC .973 as d' 2.73


def test_predictions_flattened_across_clips_are_refused() -> None:
    """The predecessor's defect 7: `extend` concatenates the rows of a batch where `append` keeps them apart."""
    rows = [np.ones(5), np.zeros(5), np.ones(5)]
    kept: list[np.ndarray] = []
    flattened: list[float] = []
    for row in rows:
        kept.append(row)
        flattened.extend(row)
    targets_CL = np.eye(3, 5, dtype=bool)
    assert score(np.stack(kept), targets_CL).clips == 3
    for wrong in (np.array(flattened), np.array(flattened)[None], np.array(flattened)[:, None], np.stack(kept).T):
        with pytest.raises(Exception, match=r"clips, labels|shape|Float") as refusal:
            score(wrong, targets_CL)
        assert not isinstance(refusal.value, AssertionError)


def test_a_score_that_is_not_finite_is_refused() -> None:
    scores_CL = np.zeros((4, 2))
    scores_CL[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 clips have a score that is not finite"):
        score(scores_CL, np.ones((4, 2), dtype=bool))
