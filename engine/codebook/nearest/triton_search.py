"""The nearest centroid in one fused Triton kernel, for CUDA.

A program holds the best score and id of a block of vectors in registers and walks over all centroids: the [N, K] scores
are never written. Products are made on the tensor cores, each of three of TF32, which leaves about float32's error
(Ootomo and Yokota, 2022, arXiv:2203.03341). N vectors, D dimensions, K centroids.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_N, BLOCK_K, BLOCK_D, WARPS, STAGES = 128, 128, 32, 8, 3


@triton.jit
def _best(
    x_ptr, c_ptr, half_ptr, best_ptr, ids_ptr, N, K: tl.constexpr, D: tl.constexpr, LOWERED: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_D: tl.constexpr,
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
            x = tl.load(x_at + first, mask=(rows[:, None] < N) & (first + dims[None, :] < D), other=0.0)
            c = tl.load(c_at + first, mask=(at[None, :] < K) & (first + dims[:, None] < D), other=0.0)
            scores = tl.dot(x, c, scores, input_precision="tf32x3")
        if LOWERED:
            scores -= tl.load(half_ptr + at, mask=at < K, other=0.0)[None, :]
        scores = tl.where(at[None, :] < K, scores, float("-inf"))
        top, where = tl.max(scores, axis=1, return_indices=True)
        better = top > best  # of equal scores the lowest id stays
        best_id = tl.where(better, start + where, best_id)
        best = tl.where(better, top, best)
    tl.store(best_ptr + rows, best, mask=rows < N)
    tl.store(ids_ptr + rows, best_id, mask=rows < N)


def fused_best(x_ND: Tensor, centroids_KD: Tensor, half_K: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the highest score of every vector, its product lowered by `half_K`, and the id (int64) that has it.

    float32, all on one CUDA device, the current one; the centroids contiguous.
    """
    vectors = len(x_ND)
    best_N = torch.empty(vectors, dtype=torch.float32, device=x_ND.device)
    ids_N = torch.empty(vectors, dtype=torch.int32, device=x_ND.device)
    _best[(triton.cdiv(vectors, BLOCK_N),)](
        x_ND.contiguous(), centroids_KD, centroids_KD if half_K is None else half_K, best_N, ids_N,
        vectors, K=len(centroids_KD), D=x_ND.shape[1], LOWERED=half_K is not None,
        BLOCK_N=BLOCK_N, BLOCK_K=BLOCK_K, BLOCK_D=BLOCK_D, num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return best_N, ids_N.long()
