"""The nearest of K centroids in one fused Triton kernel, to be measured beside torch's tiles; cosine only.

A program holds a block of vectors and walks over all centroids, keeping the best score and its id in registers: the
[N, K] scores are never written. N vectors, D dimensions (a power of 2, at least 16), K centroids.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_N, BLOCK_K = 128, 64


@triton.jit
def _nearest(
    x_ptr, c_ptr, ids_ptr, vectors, K: tl.constexpr, D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr
):  # type: ignore[no-untyped-def]
    rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    dims = tl.arange(0, D)
    x = tl.load(x_ptr + rows[:, None] * D + dims[None, :], mask=rows[:, None] < vectors, other=0.0)
    best = tl.full((BLOCK_N,), float("-inf"), tl.float32)
    best_id = tl.zeros((BLOCK_N,), tl.int32)
    for start in range(0, K, BLOCK_K):
        at = start + tl.arange(0, BLOCK_K)
        c = tl.load(c_ptr + at[None, :] * D + dims[:, None], mask=at[None, :] < K, other=0.0)
        scores = tl.dot(x, c, input_precision="ieee")
        scores = tl.where(at[None, :] < K, scores, float("-inf"))
        top, where = tl.max(scores, axis=1, return_indices=True)
        better = top > best  # of equal scores the lowest id stays
        best_id = tl.where(better, start + where, best_id)
        best = tl.where(better, top, best)
    tl.store(ids_ptr + rows, best_id, mask=rows < vectors)


def triton_nearest(x_ND: Tensor, centroids_KD: Tensor) -> Tensor:
    """Return the id [N] (int32) of the centroid with the largest product; float32 on a GPU."""
    ids_N = torch.empty(len(x_ND), dtype=torch.int32, device=x_ND.device)
    programs = (triton.cdiv(len(x_ND), BLOCK_N),)
    sizes = {"K": len(centroids_KD), "D": x_ND.shape[1], "BLOCK_N": BLOCK_N, "BLOCK_K": BLOCK_K}
    _nearest[programs](x_ND, centroids_KD, ids_N, len(x_ND), **sizes)
    return ids_N
