"""Placement and order are pure functions: permutations, and disjoint covers whatever the world."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shards.plan import epoch_order, rank_batch


@given(clips=st.integers(0, 500), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000))
def test_an_epoch_visits_every_clip_once(clips: int, seed: int, epoch: int) -> None:
    order_C = epoch_order(clips, seed, epoch)
    assert sorted(order_C.tolist()) == list(range(clips))
    assert (order_C == epoch_order(clips, seed, epoch)).all()


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


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
