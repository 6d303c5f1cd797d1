"""What finds the nearest centroid, whatever computes it.

N vectors, D dimensions, K centroids. All of them maximise x.c (cosine) or x.c - |c|^2/2 (euclidean), and break ties the
same way: of equal centroids the lowest id, and id 0 for a zero vector under cosine, which no centroid serves better
than another: its distortion is 0.
"""

from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

Metric = Literal["cosine", "euclidean"]


@runtime_checkable
class Nearest(Protocol):
    """Finds each vector's nearest centroid."""

    centroids_KD: np.ndarray

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """Return ids 0..K-1 and how badly each vector is served: 1 - cosine, or the squared distance; never below 0."""
        ...


def lowest_twin(centroids_KD: Float32[np.ndarray, "K D"]) -> Int64[np.ndarray, "K"]:
    """Return for each centroid the lowest id among those equal to it."""
    first: dict[bytes, int] = {}
    rows = centroids_KD + np.float32(0)  # -0 becomes 0, which is equal and has other bytes
    return np.array([first.setdefault(row.tobytes(), index) for index, row in enumerate(rows)], np.int64)


def half_norms(centroids_KD: Float32[np.ndarray, "K D"], metric: Metric) -> Float32[np.ndarray, "K"] | None:
    """Return |c|^2/2 of every centroid, which euclidean scores are lowered by; None for cosine."""
    return None if metric == "cosine" else np.einsum("kd,kd->k", centroids_KD, centroids_KD) / 2


def served(
    x_ND: Float32[np.ndarray, "N D"], ids_N: Int64[np.ndarray, "N"], best_N: Float32[np.ndarray, "N"], metric: Metric
) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
    """Return ids and distortions, from the ids found and their scores."""
    if metric == "euclidean":
        return ids_N, np.maximum(np.einsum("nd,nd->n", x_ND, x_ND) - 2 * best_N, 0)
    far_N = np.maximum(1 - best_N, 0)
    suspects = np.flatnonzero(best_N == 0)
    zeros = suspects[~x_ND[suspects].any(axis=1)]  # silence scaled to 0
    ids_N[zeros], far_N[zeros] = 0, 0
    return ids_N, far_N


def unit_length(x_ND: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Scale every vector to length 1; a zero vector stays zero."""
    norm_N = np.sqrt(np.einsum("nd,nd->n", x_ND, x_ND))
    return x_ND * np.divide(1, norm_N, out=np.zeros_like(norm_N), where=norm_N > 0)[:, None]
