"""The nearest centroid behind one small protocol: numpy, FAISS on CPU, FAISS on GPU.

N vectors, D dimensions, K centroids. All of them maximise x.c (cosine) or x.c - |c|^2/2 (euclidean), and break ties the
same way: of equal centroids the lowest id, and id 0 for a zero vector under cosine, which no centroid serves better
than another: its distortion is 0.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64

Metric = Literal["cosine", "euclidean"]
CHUNK_BYTES = 4 << 20  # scores of one chunk stay in the cache: half the time of all at once


@runtime_checkable
class Nearest(Protocol):
    """Finds each vector's nearest centroid."""

    centroids_KD: np.ndarray

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """Return ids 0..K-1 and how badly each vector is served: 1 - cosine, or the squared distance; never below 0."""
        ...


class NumpyNearest:
    """One matrix product and one argmax per chunk: the reference, and on a CPU the fastest."""

    def __init__(self, centroids_KD: Float32[np.ndarray, "K D"], metric: Metric) -> None:
        self.centroids_KD = centroids_KD
        self._metric = metric
        self._centroids_DK = np.ascontiguousarray(centroids_KD.T)
        self._half_K = _half_norms(centroids_KD, metric)
        self._lowest_K = lowest_twin(centroids_KD)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
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
        ids_N = self._lowest_K[ids_N]
        if self._metric == "euclidean":
            return ids_N, np.maximum(np.einsum("nd,nd->n", x_ND, x_ND) - 2 * best_N, 0)
        return _cosine_result(x_ND, ids_N, best_N)


class FaissNearest:
    """A flat FAISS index, on CPU or, where `device` names one, on a GPU (float32 or float16 storage).

    On a GPU, `search_torch` takes a tensor that lies there and returns tensors, without a copy through host memory.
    """

    def __init__(
        self, centroids_KD: Float32[np.ndarray, "K D"], metric: Metric, device: int | None = None, half: bool = False
    ) -> None:
        import faiss

        self.centroids_KD = centroids_KD
        self._metric = metric
        dims = centroids_KD.shape[1]
        if device is None:
            self._index: Any = faiss.IndexFlatIP(dims) if metric == "cosine" else faiss.IndexFlatL2(dims)
        else:
            options = faiss.GpuIndexFlatConfig()
            options.device, options.useFloat16 = device, half
            self._resources = faiss.StandardGpuResources()  # must outlive the index
            kind = faiss.GpuIndexFlatIP if metric == "cosine" else faiss.GpuIndexFlatL2
            self._index = kind(self._resources, dims, options)
        self._index.add(np.ascontiguousarray(centroids_KD))
        self._lowest_K = lowest_twin(centroids_KD)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        score_N1, ids_N1 = self._index.search(np.ascontiguousarray(x_ND), 1)
        if self._metric == "euclidean":
            return self._lowest_K[ids_N1[:, 0]], np.maximum(score_N1[:, 0], 0)
        return _cosine_result(x_ND, self._lowest_K[ids_N1[:, 0]], score_N1[:, 0])

    def search_torch(self, x_ND: Any) -> tuple[Any, Any]:
        """As the call, for a float32 torch tensor on the index's GPU: int64 ids and float32 distortions, there too."""
        import faiss.contrib.torch_utils  # noqa: F401  teaches every index to take tensors
        import torch

        score_N1, ids_N1 = self._index.search(x_ND.contiguous(), 1)
        ids_N = torch.from_numpy(self._lowest_K).to(x_ND.device)[ids_N1[:, 0]]
        if self._metric == "cosine":
            sounds_N = x_ND.any(dim=1)
            return torch.where(sounds_N, ids_N, 0), torch.where(sounds_N, (1 - score_N1[:, 0]).clamp_min(0), 0)
        return ids_N, score_N1[:, 0].clamp_min(0)


def gpu_count() -> int:
    """Return how many GPUs FAISS sees; only this call tells, since its resources construct happily without one."""
    import faiss

    return faiss.get_num_gpus()


def best_nearest(metric: Metric, device: int | None = None) -> Callable[[np.ndarray], Nearest]:
    """Return what builds the fastest `Nearest` for centroids: FAISS on GPU `device` where given, else numpy."""
    if device is not None:
        return lambda centroids_KD: FaissNearest(centroids_KD, metric, device)
    return lambda centroids_KD: NumpyNearest(centroids_KD, metric)


def lowest_twin(centroids_KD: Float32[np.ndarray, "K D"]) -> Int64[np.ndarray, "K"]:
    """Return for each centroid the lowest id among those equal to it."""
    first: dict[bytes, int] = {}
    rows = centroids_KD + np.float32(0)  # -0 becomes 0, which is equal and has other bytes
    return np.array([first.setdefault(row.tobytes(), index) for index, row in enumerate(rows)], np.int64)


def _half_norms(centroids_KD: np.ndarray, metric: Metric) -> np.ndarray | None:
    return None if metric == "cosine" else np.einsum("kd,kd->k", centroids_KD, centroids_KD) / 2


def _cosine_result(x_ND: np.ndarray, ids_N: np.ndarray, cosine_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and 1 - cosine; a zero vector (silence scaled to 0) is id 0 and, since nothing serves it better, 0."""
    far_N = np.maximum(1 - cosine_N, 0)
    suspects = np.flatnonzero(cosine_N == 0)
    zeros = suspects[~x_ND[suspects].any(axis=1)]
    ids_N[zeros], far_N[zeros] = 0, 0
    return ids_N, far_N


def unit_length(x_ND: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N D"]:
    """Scale every vector to length 1; a zero vector stays zero."""
    norm_N = np.sqrt(np.einsum("nd,nd->n", x_ND, x_ND))
    return x_ND * np.divide(1, norm_N, out=np.zeros_like(norm_N), where=norm_N > 0)[:, None]
