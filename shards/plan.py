"""Who reads what, in which order: pure functions of integers. C clips."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from audio_tokens.errors import UserError
from audio_tokens.seeds import generator

POOL_CLIPS, BLOCK_CLIPS = 4096, 8  # of a windowed order: 230 MB of mel of 10-s clips, in 512 reads of 0.45 MB
BUCKET_BATCHES = 16  # batches that are sorted together: at random lengths a batch then spans 1/16 of their range


def epoch_order(clips: int, seed: int, epoch: int) -> Int64[np.ndarray, "C"]:
    """Return the permutation of 0..clips-1 in which epoch `epoch` visits the clips, whatever the world size."""
    return generator(seed, "epoch order", epoch).permutation(clips).astype(np.int64)


def windowed_order(
    clips: int, seed: int, epoch: int, *, pool_clips: int = POOL_CLIPS, block_clips: int = BLOCK_CLIPS
) -> Int64[np.ndarray, "C"]:
    """Return an order for clips that lie on disk: neighbours are visited in one pool, so that they are read together.

    Blocks of neighbours, cut at another place every epoch, are shuffled; `pool_clips` at a time are shuffled among
    themselves. As many clips as a pool holds are shuffled in full, as by `epoch_order`.

    Measured on the worst case, clips sorted by class: with 50,000 clips of 50 classes (500,000 of 527) the entropy of
    the classes in a batch of 32 is 99.3 % (99.1 %) of a full shuffle's, and the rank correlation of a clip's place in
    the set and in the epoch .015 (.005): blocks are as few as that, and a full shuffle has .008 (.001).
    """
    if clips <= pool_clips:
        return epoch_order(clips, seed, epoch)
    rng = generator(seed, "windowed order", epoch)
    starts = np.arange(-int(rng.integers(block_clips)), clips, block_clips)
    order_C = (rng.permutation(starts)[:, None] + np.arange(block_clips)).ravel()
    order_C = order_C[(order_C >= 0) & (order_C < clips)]
    whole = clips // pool_clips * pool_clips
    pools = rng.permuted(order_C[:whole].reshape(-1, pool_clips), axis=1)
    return np.concatenate([pools.ravel(), rng.permutation(order_C[whole:])])


def weighted_order(clips: int, seed: int, epoch: int, *, weights_C: Float64[np.ndarray, "C"]) -> Int64[np.ndarray, "C"]:
    """Return `clips` draws with replacement; a clip's chance is its share of the weights, the length stays."""
    rng = generator(seed, "weighted order", epoch)
    return rng.choice(clips, size=clips, p=weights_C / weights_C.sum()).astype(np.int64)


def bucketed_order(
    order_C: Int64[np.ndarray, "C"],
    seed: int,
    epoch: int,
    *,
    lengths_C: Int64[np.ndarray, "C"],
    batch_clips: int,
    pool_clips: int | None = None,
) -> Int64[np.ndarray, "C"]:
    """Return `order_C` rearranged so that the clips of a batch have similar lengths: each as often as it stood there.

    Windows of BUCKET_BATCHES batches are sorted by length, and then all batches are shuffled; those of every
    `pool_clips` among themselves, so that what a windowed order reads together stays together. The uneven rest stays
    the last batch, of clips as they came: were it sorted along, the longest clips would meet again in it every epoch.
    `lengths_C` is by clip number.
    """
    whole = len(order_C) // batch_clips * batch_clips
    pool_batches = max(1, (pool_clips or whole) // batch_clips)
    pool, place = np.divmod(np.arange(whole), pool_batches * batch_clips)
    by_length = np.lexsort((lengths_C[order_C[:whole]], place // (BUCKET_BATCHES * batch_clips), pool))
    batches, rng = order_C[by_length].reshape(-1, batch_clips), generator(seed, "bucketed order", epoch)
    pools = np.split(batches, range(pool_batches, len(batches), pool_batches))
    return np.concatenate([*(rng.permutation(part).reshape(-1) for part in pools), order_C[whole:]])


def rank_batch(
    order_C: Int64[np.ndarray, "C"], batch_index: int, batch_clips: int, rank: int, world: int
) -> Int64[np.ndarray, "c"]:
    """Return the clips of global batch `batch_index` that `rank` of `world` takes: every world-th one.

    The ranks of a batch are disjoint and cover it, in the last uneven batch too, where a rank's part may be empty.
    """
    return order_C[batch_index * batch_clips : (batch_index + 1) * batch_clips][rank::world]


def lane_blocks(
    clips_per_shard: Int64[np.ndarray, "shards"], lanes: int, block_clips: int, seed: int, epoch: int
) -> list[Int64[np.ndarray, "n 3"]]:
    """Return per lane the blocks (shard, start, stop) it reads in this epoch, in this order.

    The lanes are disjoint and cover every clip once. Blocks of neighbouring clips are shuffled over all shards, so
    data that lies ordered by class meets every lane mixed. 2 million clips in blocks of 16 are 3 MB of numbers.
    """
    blocks_per_shard = -(-clips_per_shard // block_clips)
    shard_B = np.repeat(np.arange(len(clips_per_shard), dtype=np.int64), blocks_per_shard)
    first_B = np.repeat(np.cumsum(blocks_per_shard) - blocks_per_shard, blocks_per_shard)
    start_B = (np.arange(len(shard_B), dtype=np.int64) - first_B) * block_clips
    stop_B = np.minimum(start_B + block_clips, clips_per_shard[shard_B])
    blocks = np.stack([shard_B, start_B, stop_B], axis=1)
    blocks = generator(seed, "lane blocks", epoch).permutation(blocks)
    return [blocks[lane::lanes] for lane in range(lanes)]


def held_out(groups_C: Sequence[str], share: float, seed: int) -> Bool[np.ndarray, "C"]:
    """Return which clips are held out: whole groups (source recordings), drawn until they make up `share` of the clips.

    A pure function of its arguments, whatever the order of equal groups. Raises UserError where there is one group.
    """
    names, group_C = np.unique(np.asarray(groups_C, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"the training folds hold {len(names)} source recording; a choice needs two, to part them")
    order = generator(seed, "inner split").permutation(len(names))
    clips = np.bincount(group_C)[order]
    taken = np.clip(np.searchsorted(np.cumsum(clips), share * len(group_C)) + 1, 1, len(names) - 1)
    return np.isin(group_C, order[:taken])
