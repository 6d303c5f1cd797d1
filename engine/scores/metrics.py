"""How well scores rank labels: average precision and ROC, and what follows from them.

Axes: C clips, L labels, N different scores of a label (thresholds), from the highest to the lowest.

Every function takes scores and targets of one shape [C, L]. The predecessor reported near state-of-the-art figures for
two weeks because predictions had been flattened across clips (`extend` where `append` belonged); that is refused here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Figures of one split; fractions 0..1, NaN where no class allows the figure.

    `mAP` is the mean average precision over the classes with a positive clip, `mAUC` the mean area under the ROC curve
    over the classes with a positive and a negative one, `dprime` sqrt(2) times the normal quantile of mAUC (infinite at
    1), and `accuracy` the share of clips whose highest score is their label: None unless every clip has exactly one.
    `ap_L` is NaN where `positives_L` is 0.
    """

    clips: int
    mAP: float
    mAUC: float
    dprime: float
    accuracy: float | None
    ap_L: Float64[np.ndarray, "L"]
    positives_L: Int64[np.ndarray, "L"]


def score(scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"]) -> Scores:
    """Return the figures of `scores_CL` (any monotone score, finite) against `targets_CL`.

    Raises ValueError where the two are not of one shape [clips, labels] or a score is not finite.
    """
    check(scores_CL, targets_CL)
    ap_L, auc_L = ranking(scores_CL, targets_CL)
    mauc = _mean(auc_L)
    single = bool((targets_CL.sum(axis=1) == 1).all()) and len(targets_CL) > 0
    return Scores(
        clips=len(scores_CL),
        mAP=_mean(ap_L),
        mAUC=mauc,
        dprime=d_prime(mauc),
        accuracy=float((scores_CL.argmax(axis=1) == targets_CL.argmax(axis=1)).mean()) if single else None,
        ap_L=ap_L,
        positives_L=targets_CL.sum(axis=0, dtype=np.int64),
    )


def check(scores_CL: np.ndarray, targets_CL: np.ndarray) -> None:
    """Raise ValueError unless both arrays are [clips, labels], equal in shape, and every score is finite."""
    if scores_CL.ndim != 2 or scores_CL.shape != targets_CL.shape:
        raise ValueError(f"scores {scores_CL.shape} and targets {targets_CL.shape} must both be [clips, labels]")
    if not np.isfinite(scores_CL).all():
        raise ValueError(f"{int((~np.isfinite(scores_CL)).any(axis=1).sum())} clips have a score that is not finite")


def ranking(
    scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"]
) -> tuple[Float64[np.ndarray, "L"], Float64[np.ndarray, "L"]]:
    """Return every class's average precision and area under its ROC curve, from one sort of its scores.

    Equal to scikit-learn's average_precision_score and roc_auc_score to the last bit. Average precision is NaN for a
    class without a positive clip, the area also for one without a negative clip.
    """
    ap_L, auc_L = np.full(scores_CL.shape[1], np.nan), np.full(scores_CL.shape[1], np.nan)
    scores_LC, targets_LC = np.ascontiguousarray(scores_CL.T), np.ascontiguousarray(targets_CL.T)
    for label in np.flatnonzero(targets_LC.any(axis=1)):
        order_C, ends_N = thresholds(scores_LC[label])
        hits_N = np.cumsum(targets_LC[label][order_C], dtype=np.float64)[ends_N]
        taken_N = ends_N + 1
        ap_L[label] = _average_precision(hits_N, taken_N)
        if hits_N[-1] < taken_N[-1]:
            auc_L[label] = _roc_auc(hits_N, taken_N - hits_N)
    return ap_L, auc_L


def thresholds(scores_C: Float[np.ndarray, "C"]) -> tuple[Int64[np.ndarray, "C"], Int64[np.ndarray, "N"]]:
    """Return the clips from the highest score to the lowest, and the place in that order of each score's last clip.

    Equal scores are one threshold: in which order they stand makes no difference.
    """
    order_C = np.argsort(scores_C)[::-1]
    return order_C, np.append(np.flatnonzero(np.diff(scores_C[order_C])), len(scores_C) - 1)


def _average_precision(hits_N: Float64[np.ndarray, "N"], taken_N: Int64[np.ndarray, "N"]) -> float:
    """Return the mean precision over the steps of recall, for the positives among the clips taken at each threshold."""
    recall_N = np.append((hits_N / hits_N[-1])[::-1], 0)
    return max(0.0, float(-np.sum(np.diff(recall_N) * (hits_N / taken_N)[::-1])))


def _roc_auc(hits_N: Float64[np.ndarray, "N"], misses_N: Float64[np.ndarray, "N"]) -> float:
    """Return the area by trapezoids between the corners of the curve; points on a straight line are left out."""
    corners_N = np.ones(len(hits_N), bool)
    corners_N[1:-1] = np.logical_or(np.diff(hits_N, 2), np.diff(misses_N, 2))
    hit_rate, miss_rate = (np.append(0, x_N[corners_N]) / x_N[-1] for x_N in (hits_N, misses_N))
    return float(np.trapezoid(hit_rate, miss_rate))


def d_prime(mauc: float) -> float:
    """Return sqrt(2) times the standard normal quantile of `mauc` (0..1): 0 at chance, infinite at 1."""
    from scipy.special import ndtri

    return float(np.sqrt(2.0) * ndtri(mauc))


def _mean(values_L: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN where none is left."""
    kept = values_L[~np.isnan(values_L)]
    return float(kept.mean()) if len(kept) else float("nan")
