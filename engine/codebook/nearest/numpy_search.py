"""The nearest centroid on a CPU. N vectors, D dimensions, K centroids."""

import numpy as np
from jaxtyping import Float32, Int64

from audio_tokens.engine.codebook.nearest.protocol import Metric, half_norms, lowest_twin, served

CHUNK_BYTES = 4 << 20  # scores of one chunk stay in the cache: half the time of all at once


class NumpyNearest:
    """One matrix product and one argmax per chunk: the reference, and on a CPU the fastest."""

    def __init__(self, centroids_KD: Float32[np.ndarray, "K D"], metric: Metric) -> None:
        self.centroids_KD = centroids_KD
        self._metric: Metric = metric
        self._centroids_DK = np.ascontiguousarray(centroids_KD.T)
        self._half_K = half_norms(centroids_KD, metric)
        self._lowest_K = lowest_twin(centroids_KD)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """See Nearest."""
        vectors, clusters = len(x_ND), len(self._lowest_K)
        ids_N, best_N = np.empty(vectors, np.int64), np.empty(vectors, np.float32)
        rows = max(1, CHUNK_BYTES // (4 * clusters))
        scores = np.empty((min(rows, vectors), clusters), np.float32)
        for start in range(0, vectors, rows):
            chunk = slice(start, min(start + rows, vectors))
            scores_NK = np.dot(x_ND[chunk], self._centroids_DK, out=scores[: chunk.stop - start])
            if self._half_K is not None:
                scores_NK -= self._half_K
            scores_NK.argmax(axis=1, out=ids_N[chunk])
            best_N[chunk] = np.take_along_axis(scores_NK, ids_N[chunk, None], axis=1)[:, 0]
        return served(x_ND, self._lowest_K[ids_N], best_N, self._metric)
