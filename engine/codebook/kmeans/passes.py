"""Exact Lloyd passes. N vectors, D dimensions, K centroids, L lanes."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem, reseeded, sum_by_id
from audio_tokens.engine.codebook.kmeans.reservoir import Reservoir
from audio_tokens.engine.lanes import in_lane_order
from audio_tokens.seeds import generator

WORST = 32  # badly served vectors that each lane proposes for dead centroids in a pass


def exact_pass(problem: Problem, state: KMeansState) -> KMeansState:
    """One exact pass: every vector goes to its nearest centroid, then every centroid to the mean of its vectors."""
    nearest, dims = problem.search(state), problem.data.dims

    def work(lane: int) -> tuple[np.ndarray, ...]:
        sums_KD, counts_K = np.zeros((problem.clusters, dims)), np.zeros(problem.clusters, np.int64)
        distortion = 0.0
        worst = Reservoir(WORST, dims, generator(problem.seed, "worst", state.epoch, lane))
        for x_ND in problem.data.blocks(lane, 0):
            ids_N, far_N = nearest(x_ND)
            block_sums_KD, block_counts_K = sum_by_id(x_ND, ids_N, problem.clusters)
            sums_KD += block_sums_KD
            counts_K += block_counts_K
            distortion += far_N.sum(dtype=np.float64)
            worst.add(x_ND, far_N)
        return sums_KD, counts_K, np.array(distortion), *worst.padded()

    sums_KD, counts_K = np.zeros((problem.clusters, dims)), np.zeros(problem.clusters, np.int64)
    far_L, vectors_L, keys, vectors = [], [], [], []
    for lane_sums, lane_counts, lane_distortion, lane_keys, lane_worst in in_lane_order(
        work, problem.data.lanes, problem.world
    ):
        sums_KD += lane_sums
        counts_K += lane_counts
        far_L.append(float(lane_distortion))
        vectors_L.append(int(lane_counts.sum()))
        keys.append(lane_keys)
        vectors.append(lane_worst)
    order = np.argsort(np.concatenate(keys), kind="stable")
    order = order[: np.isfinite(np.concatenate(keys)).sum()]

    mean, error = _mean_and_error(np.array(far_L), np.array(vectors_L))
    dead_K = counts_K == 0
    row: dict[str, int | float] = {
        "pass": state.epoch + 1,
        "vectors": int(counts_K.sum()),
        "distortion": mean,
        "standard_error": error,
        "dead": int(dead_K.sum()),
    }
    means_KD = np.divide(sums_KD, counts_K[:, None], out=state.means_KD.copy(), where=~dead_K[:, None])
    moved_state = replace(
        state, epoch=state.epoch + 1, means_KD=means_KD, counts_K=counts_K, history=(*state.history, row)
    )
    moved_state = reseeded(moved_state, dead_K, np.concatenate(vectors)[order])
    before = state.history[-1]["distortion"] if state.history else None
    settled = (
        before is not None and before - mean <= problem.config.tolerance * before and not (dead_K.any() and len(order))
    )
    done = settled or moved_state.epoch == problem.config.passes
    return replace(moved_state, stage="done" if done else "passes")


def _mean_and_error(far_L: Float64[np.ndarray, "L"], vectors_L: Int64[np.ndarray, "L"]) -> tuple[float, float]:
    """Return the mean distortion of the vectors read and its standard error as an estimate of that of all vectors.

    Vectors of a clip are alike, so the error comes from how lanes differ, each of which reads other clips: a ratio
    estimator over clusters (Cochran, "Sampling Techniques", 1977, section 6.3). 0 where there is one lane.
    """
    vectors, lanes = int(vectors_L.sum()), int(np.count_nonzero(vectors_L))
    mean = float(sum(far_L)) / vectors
    spread = float(np.square(far_L - mean * vectors_L).sum())
    return mean, float(np.sqrt(spread * lanes / (lanes - 1)) / vectors) if lanes > 1 else 0.0
