"""Placement and order are pure functions: permutations, and disjoint covers whatever the world."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.shards.plan import (
    BUCKET_BATCHES,
    bucketed_order,
    epoch_order,
    rank_batch,
    weighted_order,
    windowed_order,
)


@settings(deadline=None)
@given(clips=st.integers(0, 500), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_an_epoch_visits_every_clip_once(clips: int, seed: int, epoch: int) -> None:
    order_C = epoch_order(clips, seed, epoch)
    assert sorted(order_C.tolist()) == list(range(clips))
    assert (order_C == epoch_order(clips, seed, epoch)).all()


@settings(deadline=None)
@given(
    clips=st.integers(0, 500),
    pool_clips=st.integers(1, 60),
    block_clips=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 1000),
)
def test_a_windowed_order_visits_every_clip_once_and_neighbours_in_one_pool(
    clips: int, pool_clips: int, block_clips: int, seed: int, epoch: int
) -> None:
    sizes = {"pool_clips": pool_clips, "block_clips": block_clips}
    order_C = windowed_order(clips, seed, epoch, **sizes)
    assert sorted(order_C.tolist()) == list(range(clips))
    assert (order_C == windowed_order(clips, seed, epoch, **sizes)).all()
    if clips <= pool_clips:
        assert (order_C == epoch_order(clips, seed, epoch)).all()
        return
    pool_C = np.empty(clips, np.int64)
    pool_C[order_C] = np.arange(clips) // pool_clips
    parted = int((np.diff(pool_C) != 0).sum())
    blocks, pools = clips // block_clips + 2, clips // pool_clips + 1
    assert parted <= blocks + pools  # at the ends of blocks, and where the end of a pool cuts one


def test_a_windowed_order_mixes_nearly_as_well_as_a_full_one() -> None:
    """The figures of its docstring: clips sorted by class, 50 classes, batches of 32."""
    clips, classes, batch_clips = 50_000, 50, 32
    class_C = np.arange(clips) * classes // clips
    found = {}
    for name, order in (("full", epoch_order), ("windowed", windowed_order)):
        order_C = order(clips, 0, 0)
        drift = float(np.corrcoef(order_C, np.arange(clips))[0, 1])
        whole = clips // batch_clips * batch_clips
        batches = class_C[order_C[:whole]].reshape(-1, batch_clips)
        share_BL = np.stack([np.bincount(batch, minlength=classes) for batch in batches]) / batch_clips
        entropy = -np.sum(share_BL * np.log(np.where(share_BL > 0, share_BL, 1)), axis=1).mean()
        found[name] = (abs(drift), float(entropy))
    assert found["full"][0] < 0.02
    assert found["windowed"][0] < 0.04  # one over the square root of 6,250 blocks is 0.013
    assert found["windowed"][1] > 0.99 * found["full"][1]


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@settings(deadline=None)
@given(clips=st.integers(0, 200), batch_clips=st.integers(1, 40), world=st.integers(1, 9), seed=st.integers(0, 9))
def test_ranks_are_a_disjoint_cover_of_every_batch(clips: int, batch_clips: int, world: int, seed: int) -> None:
    order_C = epoch_order(clips, seed, 0)
    seen: list[int] = []
    for batch_index in range(-(-clips // batch_clips)):
        parts = [rank_batch(order_C, batch_index, batch_clips, rank, world) for rank in range(world)]
        whole = rank_batch(order_C, batch_index, batch_clips, 0, 1)
        assert sorted(np.concatenate(parts).tolist()) == sorted(whole.tolist())
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        seen += whole.tolist()
    assert sorted(seen) == list(range(clips))


@settings(deadline=None)
@given(
    clips=st.integers(1, 300),
    batch_clips=st.integers(1, 9),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
    longest=st.sampled_from([1, 3, 1000]),
    weighted=st.booleans(),
    pool_clips=st.sampled_from([None, 5, 60, 200]),
)
def test_buckets_hold_the_clips_of_the_order_batch_by_batch_of_one_window(
    clips: int, batch_clips: int, seed: int, epoch: int, longest: int, weighted: bool, pool_clips: int | None
) -> None:
    """Each clip as often as before, a draw with replacement too; a batch is a run of its window sorted by length."""
    rng = np.random.default_rng(clips)
    lengths_C = rng.integers(1, longest + 1, clips)
    order_C = (
        weighted_order(clips, seed, epoch, weights_C=rng.random(clips) + 0.01)
        if weighted
        else epoch_order(clips, seed, epoch)
    )
    given = {"lengths_C": lengths_C, "batch_clips": batch_clips, "pool_clips": pool_clips}
    bucketed_C = bucketed_order(order_C, seed, epoch, **given)
    assert (bucketed_C == bucketed_order(order_C, seed, epoch, **given)).all()
    assert sorted(bucketed_C.tolist()) == sorted(order_C.tolist())
    whole = clips // batch_clips * batch_clips
    assert bucketed_C[whole:].tolist() == order_C[whole:].tolist()
    pool = whole if pool_clips is None else max(1, pool_clips // batch_clips) * batch_clips
    for first in range(0, whole, max(1, pool)):
        slow, last = [], min(whole, first + pool)
        for start in range(first, last, BUCKET_BATCHES * batch_clips):
            window = order_C[start : min(last, start + BUCKET_BATCHES * batch_clips)].tolist()
            window.sort(key=lengths_C.item)
            slow += [tuple(window[i : i + batch_clips]) for i in range(0, len(window), batch_clips)]
        of_pool = bucketed_C[first:last].reshape(-1, batch_clips).tolist()
        assert sorted(tuple(batch) for batch in of_pool) == sorted(slow)


def test_buckets_are_shuffled_differ_by_epoch_and_save_padding() -> None:
    lengths_C = np.random.default_rng(0).integers(50, 400, 3200)
    orders = [
        bucketed_order(epoch_order(3200, 0, epoch), 0, epoch, lengths_C=lengths_C, batch_clips=32) for epoch in range(2)
    ]
    assert (orders[0] != orders[1]).any()
    longest = lengths_C[orders[0].reshape(-1, 32)].max(axis=1)
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.3, (
        "neighbouring batches are not of neighbouring length"
    )

    def padded(order_C: np.ndarray) -> float:
        lengths = lengths_C[order_C.reshape(-1, 32)]
        return float(lengths.max(axis=1).sum() * 32 / lengths.sum())

    assert padded(orders[0]) < 1.08 < 1.6 < padded(epoch_order(3200, 0, 0))
