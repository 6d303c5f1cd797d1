"""The start of k-means: a sample of the stream, and the first centroids drawn from it. S vectors, D dimensions."""

import numpy as np

from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem
from audio_tokens.engine.codebook.kmeans.reservoir import Reservoir
from audio_tokens.engine.codebook.kmeans.starts import STARTS
from audio_tokens.engine.lanes import in_lane_order
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator


def first_centroids(problem: Problem) -> KMeansState:
    """Return the state before the first mini-batch. Raises UserError where there are fewer vectors than centroids."""
    room = -(-problem.config.sample_per_centroid * problem.clusters // problem.data.lanes)

    def sample(lane: int) -> tuple[np.ndarray, ...]:
        reservoir = Reservoir(room, problem.data.dims, generator(problem.seed, "sample", lane))
        for x_ND in problem.data.blocks(lane, 0):
            reservoir.add(x_ND)
        return reservoir.padded()

    kept = [x[np.isfinite(keys)] for keys, x in in_lane_order(sample, problem.data.lanes, problem.world)]
    x_SD = np.concatenate(kept)
    if problem.config.metric == "cosine":
        x_SD = x_SD[x_SD.any(axis=1)]  # silence scaled to 0 has no direction a centroid could take
    if len(x_SD) < problem.clusters:
        raise UserError(
            f"{len(x_SD)} vectors cannot fill {problem.clusters} centroids; give more clips or lower kmeans.clusters"
        )
    draw = STARTS[problem.config.start]
    chosen_K = draw(x_SD, problem.clusters, problem.config.metric, generator(problem.seed, "start"))
    none_K = np.zeros(problem.clusters, np.int64)
    return KMeansState("batches", 0, 0, x_SD[chosen_K].astype(np.float64), none_K, none_K)
