"""What k-means is given and where it stands; what mini-batches and exact passes have in common.

N vectors, D dimensions, K centroids, R vectors of a reserve. Counts are int64 and sums float64, right beyond the 2^24
points per centroid at which float32 stops.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest, unit_length
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.engine.lanes import Lanes
from audio_tokens.engine.world import World


@runtime_checkable
class VectorLanes(Lanes, Protocol):
    """Lanes whose blocks are vectors, float32 [N, dims]; of unit length under the cosine metric."""

    dims: int


@dataclass(frozen=True)
class KMeansState:
    """Where k-means stands; continuing from any state equals never having stopped.

    `epoch` counts the finished epochs of the stage, `step` the mini-batches done in the current one, `recent_K` the
    vectors met since the last look for dead centroids; `far_means` are the mean distances of the vectors of the last
    mini-batches, `history` has one row per exact pass.
    """

    stage: Literal["batches", "passes", "done"]
    epoch: int
    step: int
    means_KD: Float64[np.ndarray, "K D"]
    counts_K: Int64[np.ndarray, "K"]
    recent_K: Int64[np.ndarray, "K"]
    far_means: tuple[float, ...] = ()
    history: tuple[dict[str, int | float], ...] = ()

    def centroids(self, metric: Metric) -> Float32[np.ndarray, "K D"]:
        """Return the centroids: the means, under cosine scaled to length 1."""
        means_KD = self.means_KD.astype(np.float32)
        return unit_length(means_KD) if metric == "cosine" else means_KD


@dataclass(frozen=True)
class Problem:
    """k-means of `data` into `clusters` centroids; `nearest` turns centroids into what finds the nearest of them."""

    data: VectorLanes
    clusters: int
    config: KMeansConfig
    seed: int = 0
    world: World = field(default_factory=World)
    nearest: Callable[[np.ndarray], Nearest] | None = None

    def search(self, state: KMeansState) -> Nearest:
        """Return the search of the nearest of the centroids of `state`."""
        make = self.nearest or best_nearest(self.config.metric)
        return make(state.centroids(self.config.metric))


def sum_by_id(
    x_ND: Float32[np.ndarray, "N D"], ids_N: Int64[np.ndarray, "N"], clusters: int
) -> tuple[Float32[np.ndarray, "K D"], Int64[np.ndarray, "K"]]:
    """Return the sum and the number of the vectors of each id, for one block; blocks are to be added up in float64.

    A sparse product in float32, a quarter of the time of one in float64: a few vectors a centroid lose nothing by it.
    """
    from scipy.sparse import csr_array

    ones_N = np.ones(len(ids_N), np.float32)
    ones_NK = csr_array((ones_N, ids_N, np.arange(len(ids_N) + 1)), shape=(len(ids_N), clusters))
    return ones_NK.T @ x_ND, np.bincount(ids_N, minlength=clusters)


def reseeded(state: KMeansState, dead_K: np.ndarray, x_RD: np.ndarray) -> KMeansState:
    """Put dead centroids, as far as the vectors reach, on vectors that were badly served; they begin without a past."""
    dead = np.flatnonzero(dead_K)[: len(x_RD)]
    means_KD, counts_K = state.means_KD.copy(), state.counts_K.copy()
    means_KD[dead], counts_K[dead] = x_RD[: len(dead)], 0
    return replace(state, means_KD=means_KD, counts_K=counts_K)
