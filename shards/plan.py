"""Who reads what, in which order: pure functions of integers. C clips."""

import numpy as np
from jaxtyping import Int64

EPOCH_ORDER = 1  # the purposes that a seed is split into


def epoch_order(clips: int, seed: int, epoch: int) -> Int64[np.ndarray, "C"]:
    """Return the permutation of 0..clips-1 in which epoch `epoch` visits the clips, whatever the world size."""
    return np.random.default_rng([seed, EPOCH_ORDER, epoch]).permutation(clips).astype(np.int64)


def rank_batch(
    order_C: Int64[np.ndarray, "C"], batch_index: int, batch_clips: int, rank: int, world: int
) -> Int64[np.ndarray, "c"]:
    """Return the clips of global batch `batch_index` that `rank` of `world` takes: every world-th one.

    The ranks of a batch are disjoint and cover it, in the last uneven batch too, where a rank's part may be empty.
    """
    return order_C[batch_index * batch_clips : (batch_index + 1) * batch_clips][rank::world]
