"""The nearest of K centroids in one fused Triton kernel, to be measured beside torch's tiles; cosine only.

A program holds the best score and id of a block of vectors in registers and walks over all centroids: the [N, K] scores
are never written. Products are made on the tensor cores, each of three of TF32, which leaves about float32's error
(Ootomo and Yokota, 2022, arXiv:2203.03341). N vectors, D dimensions (a multiple of 32), K centroids.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_D = 32
# Which is best depends on the card: the first call for a D measures them.
SHAPES = [
    triton.Config({"BLOCK_N": 128, "BLOCK_K": 64}, num_warps=4, num_stages=3),
    triton.Config({"BLOCK_N": 128, "BLOCK_K": 128}, num_warps=8, num_stages=3),
    triton.Config({"BLOCK_N": 64, "BLOCK_K": 128}, num_warps=4, num_stages=3),
]


@triton.autotune(SHAPES, key=["D"])
@triton.jit
def _nearest(
    x_ptr, c_ptr, ids_ptr, N, K,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip  # type: ignore[no-untyped-def]
    rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    dims = tl.arange(0, BLOCK_D)
    x_at = x_ptr + rows[:, None].to(tl.int64) * D + dims[None, :]
    best = tl.full((BLOCK_N,), float("-inf"), tl.float32)
    best_id = tl.zeros((BLOCK_N,), tl.int32)
    for start in range(0, K, BLOCK_K):
        at = start + tl.arange(0, BLOCK_K)
        c_at = c_ptr + at[None, :] * D + dims[:, None]
        scores = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
        for first in range(0, D, BLOCK_D):
            x = tl.load(x_at + first, mask=rows[:, None] < N, other=0.0)
            c = tl.load(c_at + first, mask=at[None, :] < K, other=0.0)
            scores = tl.dot(x, c, scores, input_precision="tf32x3")
        scores = tl.where(at[None, :] < K, scores, float("-inf"))
        top, where = tl.max(scores, axis=1, return_indices=True)
        better = top > best  # of equal scores the lowest id stays
        best_id = tl.where(better, start + where, best_id)
        best = tl.where(better, top, best)
    tl.store(ids_ptr + rows, best_id, mask=rows < N)


def triton_nearest(x_ND: Tensor, centroids_KD: Tensor) -> Tensor:
    """Return the id [N] (int32) of the centroid with the largest product; float32 on a GPU."""
    (vectors, dims), clusters = x_ND.shape, len(centroids_KD)
    ids_N = torch.empty(vectors, dtype=torch.int32, device=x_ND.device)
    programs = lambda shape: (triton.cdiv(vectors, shape["BLOCK_N"]),)  # noqa: E731
    _nearest[programs](x_ND, centroids_KD, ids_N, vectors, clusters, D=dims, BLOCK_D=BLOCK_D)
    return ids_N
