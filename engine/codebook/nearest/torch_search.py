"""The nearest centroid by torch, on a GPU that FAISS does not see. N vectors, D dimensions, K centroids."""

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from audio_tokens.engine.codebook.nearest.protocol import Metric, half_norms, lowest_twin, served

# Scores are made tile by tile, 256 MiB each, and only the best of every vector is kept: never [N, K] at once.
TILE_VECTORS, TILE_CENTROIDS = 16_384, 4_096


class TorchNearest:
    """One matrix product a tile and a running maximum, in float32."""

    def __init__(self, centroids_KD: Float32[np.ndarray, "K D"], metric: Metric, device: torch.device) -> None:
        self.centroids_KD = centroids_KD
        self._metric: Metric = metric
        self._on_device_KD = torch.from_numpy(centroids_KD).to(device)
        half_K = half_norms(centroids_KD, metric)
        self._half_K = None if half_K is None else torch.from_numpy(half_K).to(device)
        self._lowest_K = torch.from_numpy(lowest_twin(centroids_KD)).to(device)

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> tuple[Int64[np.ndarray, "N"], Float32[np.ndarray, "N"]]:
        """See Nearest."""
        if not len(x_ND):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        tiles = torch.from_numpy(np.ascontiguousarray(x_ND)).to(self._on_device_KD.device).split(TILE_VECTORS)
        best, ids = zip(*map(self.best, tiles), strict=True)
        return served(x_ND, torch.cat(ids).cpu().numpy(), torch.cat(best).cpu().numpy(), self._metric)

    def nearest(self, x_ND: Tensor) -> Tensor:
        """Return the ids [N] of vectors that lie on the device, where they stay; a zero vector's is 0 under cosine."""
        return torch.cat([self.best(tile_ND)[1] for tile_ND in x_ND.split(TILE_VECTORS)])

    @torch.inference_mode()
    def best(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return the highest score of every vector and the id that has it, the lowest where several do."""
        best_N = x_ND.new_full((len(x_ND),), -torch.inf)
        ids_N = torch.zeros(len(x_ND), dtype=torch.int64, device=x_ND.device)
        for start in range(0, len(self.centroids_KD), TILE_CENTROIDS):
            tile = slice(start, start + TILE_CENTROIDS)
            scores_NK = x_ND @ self._on_device_KD[tile].T
            if self._half_K is not None:
                scores_NK -= self._half_K[tile]
            top_N, at_N = scores_NK.max(dim=1)
            ids_N = torch.where(top_N > best_N, at_N + start, ids_N)
            best_N = torch.maximum(best_N, top_N)
        return best_N, self._lowest_K[ids_N]
