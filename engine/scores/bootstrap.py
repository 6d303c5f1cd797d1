"""How sure a figure is: clips, or groups of them, are drawn again with replacement, and figures computed again.

Axes: C clips, L labels, R replicates, N different scores of a label, S of them with a positive clip, or S seeds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from scipy.sparse import csr_array

from audio_tokens.engine.scores.metrics import check, thresholds
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator

AT_ONCE = 20_000_000  # replicates x clips held at a time: their counts are 160 MB


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
    scores_CL: Float[np.ndarray, "C L"],
    targets_CL: Bool[np.ndarray, "C L"],
    *,
    groups: Sequence[str] | None = None,
    count: int = 1000,
    seed: int = 0,
) -> dict[str, Float64[np.ndarray, "R"]]:
    """Return mAP and, where every clip has one label, accuracy on `count` bootstrap samples of the clips.

    `groups` names each clip's recording or speaker: whole groups are drawn then (the cluster bootstrap: Davison and
    Hinkley, "Bootstrap methods and their application", 1997, 3.8), since clips of one are like each other and tell
    less than as many strangers. Without it every clip is a group of its own.
    The samples depend on the groups and the seed alone: two systems on the same clips meet the same ones.
    Memory is bounded; time is about count x C x L x 1 ns.
    """
    check(scores_CL, targets_CL)
    if count < 1:
        raise UserError(f"{count} bootstrap samples say nothing; draw at least 1, or better 1000")
    found: dict[str, list[np.ndarray]] = {"mAP": []}
    single = bool((targets_CL.sum(axis=1) == 1).all())
    right_C = scores_CL.argmax(axis=1) == targets_CL.argmax(axis=1)
    group_C = np.arange(len(scores_CL)) if groups is None else np.unique(groups, return_inverse=True)[1]
    for counts_RC in _samples(group_C, count, seed):
        found["mAP"].append(np.nanmean(weighted_average_precision(scores_CL, targets_CL, counts_RC), axis=1))
        if single:
            found.setdefault("accuracy", []).append(counts_RC @ right_C / counts_RC.sum(axis=1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def over_seeds(figures_SR: Float64[np.ndarray, "S R"], seed: int = 0) -> Float64[np.ndarray, "R"]:
    """Return replicates of the mean over S trainings that differ by their seed alone, which are drawn again as well.

    So an interval holds both sources of variance: which clips were tested, and how a training began. Of two systems
    with as many seeds the same ones are drawn.
    """
    seeds = len(figures_SR)
    drawn_SR = generator(seed, "seeds", seeds).integers(seeds, size=figures_SR.shape)
    return np.take_along_axis(figures_SR, drawn_SR, axis=0).mean(axis=0)


def weighted_average_precision(
    scores_CL: Float[np.ndarray, "C L"], targets_CL: Bool[np.ndarray, "C L"], counts_RC: Int64[np.ndarray, "R C"]
) -> Float64[np.ndarray, "R L"]:
    """Return the average precision of every label where clip c counts counts_RC[r, c] times; NaN without a positive.

    Equal scores are one threshold, as scikit-learn has it. Every label is sorted once for all replicates.
    """
    clips, ap_RL = len(scores_CL), np.full((len(counts_RC), scores_CL.shape[1]), np.nan)
    # float32 adds up integers below 2^24 exactly
    dtype = np.float32 if counts_RC.sum(axis=1).max(initial=0) < 1 << 24 else np.float64
    weights_CR: np.ndarray = np.ascontiguousarray(counts_RC.T, dtype)
    for label in np.flatnonzero(targets_CL.any(axis=0)):
        order_C, ends_N = thresholds(scores_CL[:, label])
        hits_C = targets_CL[order_C, label]
        hits_until_N = np.cumsum(hits_C)[ends_N]
        rises_N = np.diff(hits_until_N, prepend=0) > 0  # precision counts at the S thresholds where recall rises
        taken_SR = _runs(order_C, ends_N[rises_N] + 1, clips) @ weights_CR
        hits_SR = _runs(order_C[hits_C], hits_until_N[rises_N], clips) @ weights_CR
        taken_until_SR = np.cumsum(taken_SR, axis=0, dtype=np.float64)
        hits_until_SR = np.cumsum(hits_SR, axis=0, dtype=np.float64)
        sums_R = (hits_SR * hits_until_SR / np.maximum(taken_until_SR, 1)).sum(axis=0)
        with np.errstate(invalid="ignore"):
            ap_RL[:, label] = sums_R / hits_until_SR[-1]
    return ap_RL


def _runs(order_C: Int64[np.ndarray, "c"], ends_S: Int64[np.ndarray, "S"], clips: int) -> csr_array:
    """Return the matrix [S, clips] that adds up the clips of each run of `order_C`; run s ends before ends_S[s]."""
    taken = order_C[: ends_S[-1]]
    ones = np.ones(len(taken), np.float32)
    return csr_array((ones, taken, np.append(0, ends_S)), shape=(len(ends_S), clips))


def difference(a_R: Float64[np.ndarray, "R"], b_R: Float64[np.ndarray, "R"], value: float) -> Difference:
    """Return how sure `value`, B's figure minus A's, is, from replicates of both on the same samples."""
    apart_R = b_R - a_R
    low, high = interval(apart_R)
    tail = min(np.sum(apart_R <= 0), np.sum(apart_R >= 0))
    return Difference(value=value, low=low, high=high, p=float(min(1.0, 2 * (tail + 1) / (len(apart_R) + 1))))


def _samples(group_C: Int64[np.ndarray, "C"], count: int, seed: int) -> Iterator[Int64[np.ndarray, "R C"]]:
    """Yield how often each clip counts in some of the replicates: as often as its group was drawn."""
    groups = int(group_C.max()) + 1
    rng = generator(seed, "bootstrap", groups)
    step = max(1, AT_ONCE // len(group_C))
    for start in range(0, count, step):
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size=min(step, count - start))[:, group_C]
