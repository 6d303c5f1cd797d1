"""How well scores rank labels: average precision and ROC by scikit-learn, and what follows from them.

Axes: C clips, L labels.

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
    ap_L = average_precision(scores_CL, targets_CL)
    mauc = _mean(roc_auc(scores_CL, targets_CL))
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


def average_precision(
    scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"]
) -> Float64[np.ndarray, "L"]:
    """Return the average precision of every class, NaN for one without a positive clip."""
    from sklearn.metrics import average_precision_score

    ap_L = np.full(scores_CL.shape[1], np.nan)
    for label in np.flatnonzero(targets_CL.any(axis=0)):
        ap_L[label] = average_precision_score(targets_CL[:, label], scores_CL[:, label])
    return ap_L


def roc_auc(scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"]) -> Float64[np.ndarray, "L"]:
    """Return the area under the ROC curve of every class, NaN for one without a positive or without a negative clip."""
    from sklearn.metrics import roc_auc_score

    auc_L = np.full(scores_CL.shape[1], np.nan)
    for label in np.flatnonzero(targets_CL.any(axis=0) & ~targets_CL.all(axis=0)):
        auc_L[label] = roc_auc_score(targets_CL[:, label], scores_CL[:, label])
    return auc_L


def d_prime(mauc: float) -> float:
    """Return sqrt(2) times the standard normal quantile of `mauc` (0..1): 0 at chance, infinite at 1."""
    from scipy.special import ndtri

    return float(np.sqrt(2.0) * ndtri(mauc))


def _mean(values_L: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN where none is left."""
    kept = values_L[~np.isnan(values_L)]
    return float(kept.mean()) if len(kept) else float("nan")
