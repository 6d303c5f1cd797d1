"""The nearest centroid by a flat FAISS index, on CPU or GPU. N vectors, D dimensions, K centroids."""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from audio_tokens.engine.codebook.nearest.protocol import Metric, lowest_twin, served


class FaissSearch:
    """Makes a search from centroids, again and again of one index: k-means moves its centroids at every mini-batch.

    On GPU `device` where one is named, else on the CPU. Only the search that was made last may be used.
    """

    def __init__(self, metric: Metric, device: int | None = None) -> None:
        self.metric: Metric = metric
        self._device = device
        self._index: Any = None
        self._last: FaissNearest | None = None

    def __call__(self, centroids_KD: Float32[np.ndarray, "K D"]) -> "FaissNearest":
        """Return the search of these centroids in place of the last ones."""
        if self._index is None or self._index.d != centroids_KD.shape[1]:
            self._index = _index(centroids_KD.shape[1], self.metric, self._device)
        self._index.reset()
        self._index.add(np.ascontiguousarray(centroids_KD))
        self._last = FaissNearest(self, centroids_KD)
        return self._last

    def search(self, asker: "FaissNearest", x_ND: Float32[np.ndarray, "N D"]) -> tuple[np.ndarray, np.ndarray]:
        """Return the products with the nearest centroids (cosine), or the squared distances, and their ids."""
        assert asker is self._last, "the index holds other centroids by now"
        score_N1, ids_N1 = self._index.search(np.ascontiguousarray(x_ND), 1)
        return score_N1[:, 0], ids_N1[:, 0]


class FaissNearest:
    """One state of a FaissSearch."""

    def __init__(self, search: FaissSearch, centroids_KD: Float32[np.ndarray, "K D"]) -> None:
        self.centroids_KD = centroids_KD
        self._search, self._lowest_K = search, lowest_twin(centroids_KD)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """See Nearest."""
        score_N, ids_N = self._search.search(self, x_ND)
        if self._search.metric == "euclidean":
            return self._lowest_K[ids_N], np.maximum(score_N, 0)
        return served(x_ND, self._lowest_K[ids_N], score_N, "cosine")


def _index(dims: int, metric: Metric, device: int | None) -> Any:
    import faiss

    if device is None:
        return faiss.IndexFlatIP(dims) if metric == "cosine" else faiss.IndexFlatL2(dims)
    options = faiss.GpuIndexFlatConfig()
    options.device = device
    kind = faiss.GpuIndexFlatIP if metric == "cosine" else faiss.GpuIndexFlatL2
    return kind(_resources(), dims, options)


@cache
def _resources() -> Any:
    """Return this process's one set of GPU resources: each takes 256 MiB of pinned memory and 1.5 GiB of the GPU's."""
    import faiss

    return faiss.StandardGpuResources()
