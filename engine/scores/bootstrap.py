"""How sure a figure is: clips drawn again with replacement, figures computed again.

Axes: C clips, L labels, R replicates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from audio_tokens.engine.scores.metrics import check
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator

AT_ONCE = 50_000_000  # replicates x clips held at a time, 400 MB


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What B has more than A: the difference itself, its 95 % interval, and the two-sided p of its sign."""

    value: float
    low: float
    high: float
    p: float


def interval(figures_R: Float64[np.ndarray, "R"]) -> tuple[float, float]:
    """Return the bounds that hold the middle 95 % of the replicates."""
    low, high = np.nanquantile(figures_R, [0.025, 0.975])
    return float(low), float(high)


def replicates(
    scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"], *, count: int = 1000, seed: int = 0
) -> dict[str, Float64[np.ndarray, "R"]]:
    """Return mAP and, where every clip has one label, accuracy on `count` bootstrap samples of the clips.

    The samples depend on the number of clips and the seed alone: two systems on the same clips meet the same ones.
    Memory is bounded; time is about count x C x L x 10 ns.
    """
    check(scores_CL, targets_CL)
    if count < 1:
        raise UserError(f"{count} bootstrap samples say nothing; draw at least 1, or better 1000")
    found: dict[str, list[np.ndarray]] = {"mAP": []}
    single = bool((targets_CL.sum(axis=1) == 1).all())
    right_C = scores_CL.argmax(axis=1) == targets_CL.argmax(axis=1)
    for counts_RC in _samples(len(scores_CL), count, seed):
        found["mAP"].append(np.nanmean(weighted_average_precision(scores_CL, targets_CL, counts_RC), axis=1))
        if single:
            found.setdefault("accuracy", []).append(counts_RC @ right_C / len(right_C))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def weighted_average_precision(
    scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"], counts_RC: Int64[np.ndarray, "R C"]
) -> Float64[np.ndarray, "R L"]:
    """Return the average precision of every label where clip c counts counts_RC[r, c] times; NaN without a positive.

    Equal scores are one threshold, as scikit-learn has it.
    """
    ap_RL = np.full((len(counts_RC), scores_CL.shape[1]), np.nan)
    for label in np.flatnonzero(targets_CL.any(axis=0)):
        order = np.argsort(-scores_CL[:, label], kind="stable")
        sorted_C = scores_CL[order, label]
        last_C = np.searchsorted(-sorted_C, -sorted_C, side="right") - 1  # of the clips with this score
        weight_RC = counts_RC[:, order].astype(np.float64)
        hit_RC = weight_RC * targets_CL[order, label]
        precision_RC = np.cumsum(hit_RC, axis=1)[:, last_C] / np.maximum(np.cumsum(weight_RC, axis=1)[:, last_C], 1)
        positives_R = hit_RC.sum(axis=1)
        with np.errstate(invalid="ignore"):
            ap_RL[:, label] = (hit_RC * precision_RC).sum(axis=1) / positives_R
    return ap_RL


def difference(a_R: Float64[np.ndarray, "R"], b_R: Float64[np.ndarray, "R"], value: float) -> Difference:
    """Return how sure `value`, B's figure minus A's, is, from replicates of both on the same samples."""
    apart_R = b_R - a_R
    low, high = interval(apart_R)
    tail = min(np.sum(apart_R <= 0), np.sum(apart_R >= 0))
    return Difference(value=value, low=low, high=high, p=float(min(1.0, 2 * (tail + 1) / (len(apart_R) + 1))))


def _samples(clips: int, count: int, seed: int) -> Iterator[Int64[np.ndarray, "R C"]]:
    rng = generator(seed, "bootstrap", clips)
    step = max(1, AT_ONCE // clips)
    for start in range(0, count, step):
        yield rng.multinomial(clips, np.full(clips, 1 / clips), size=min(step, count - start))
