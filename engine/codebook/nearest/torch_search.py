"""The nearest centroid by torch, on a GPU: Triton's fused kernel where it runs, else tiles of a matrix product.

N vectors, D dimensions, K centroids.
"""

import importlib.util

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from audio_tokens.engine.codebook.nearest.protocol import Metric, half_norms, lowest_twin, served

# Scores are made tile by tile, 256 MiB each, and only the best of every vector is kept: never [N, K] at once.
TILE_VECTORS, TILE_CENTROIDS = 16_384, 4_096
TENSOR_CORES = (8, 0)  # compute capability of the first that multiply TF32


class TorchNearest:
    """The largest of all products with the centroids, in float32."""

    def __init__(
        self, centroids_KD: Float32[np.ndarray, "K D"], metric: Metric, device: torch.device, fused: bool = True
    ) -> None:
        """Search on `device`, by the fused kernel where it runs there and `fused` allows it."""
        self.centroids_KD = centroids_KD
        self._metric: Metric = metric
        self.on_device_KD = torch.from_numpy(np.ascontiguousarray(centroids_KD)).to(device)
        half_K = half_norms(centroids_KD, metric)
        self._half_K = None if half_K is None else torch.from_numpy(half_K).to(device)
        self._lowest_K = torch.from_numpy(lowest_twin(centroids_KD)).to(device)
        self._fused = fused and _has_fused(device)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """See Nearest."""
        if not len(x_ND):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        best_N, ids_N = self.best(torch.from_numpy(np.ascontiguousarray(x_ND)).to(self.on_device_KD.device))
        return served(x_ND, ids_N.cpu().numpy(), best_N.cpu().numpy(), self._metric)

    @torch.inference_mode()
    def best(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest score of every vector of the device and the id that has it, the lowest where several do.

        A zero vector's is 0 under cosine.
        """
        if self._fused:
            from audio_tokens.engine.codebook.nearest.triton_search import fused_best

            with torch.cuda.device(x_ND.device):  # Triton starts its kernels on the current one
                best_N, ids_N = fused_best(x_ND, self.on_device_KD, self._half_K)
        else:
            best, ids = zip(*map(self._tiled_best, x_ND.split(TILE_VECTORS)), strict=True)
            best_N, ids_N = torch.cat(best), torch.cat(ids)
        return best_N, self._lowest_K[ids_N]

    def _tiled_best(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        best_N = x_ND.new_full((len(x_ND),), -torch.inf)
        ids_N = torch.zeros(len(x_ND), dtype=torch.int64, device=x_ND.device)
        for start in range(0, len(self.centroids_KD), TILE_CENTROIDS):
            tile = slice(start, start + TILE_CENTROIDS)
            scores_NK = x_ND @ self.on_device_KD[tile].T
            if self._half_K is not None:
                scores_NK -= self._half_K[tile]
            top_N, at_N = scores_NK.max(dim=1)
            ids_N = torch.where(top_N > best_N, at_N + start, ids_N)
            best_N = torch.maximum(best_N, top_N)
        return best_N, ids_N


def _has_fused(device: torch.device) -> bool:
    """Whether the fused kernel runs on a device: Triton comes with torch on Linux, TF32 with Ampere."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= TENSOR_CORES
