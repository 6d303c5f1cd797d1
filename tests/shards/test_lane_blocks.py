import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.shards.plan import lane_blocks


@given(
    clips=st.lists(st.integers(0, 70), min_size=1, max_size=8),
    lanes=st.integers(1, 15),
    block_clips=st.integers(1, 20),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_lanes_are_disjoint_and_cover_every_clip_once(clips, lanes, block_clips, seed, epoch):
    plan = lane_blocks(np.array(clips), lanes, block_clips, seed, epoch)
    assert len(plan) == lanes
    read = [(shard, clip) for blocks in plan for shard, start, stop in blocks.tolist() for clip in range(start, stop)]
    assert sorted(read) == [(shard, clip) for shard, count in enumerate(clips) for clip in range(count)]
    assert all(0 < stop - start <= block_clips for blocks in plan for _, start, stop in blocks.tolist())
    sizes = [len(blocks) for blocks in plan]
    assert max(sizes) - min(sizes) <= 1


def test_every_epoch_reads_another_order_and_the_same_epoch_the_same():
    def order(seed, epoch):
        return np.concatenate(lane_blocks(np.array([300, 200]), 12, 5, seed, epoch)).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_every_lane_reads_from_everywhere():
    plan = lane_blocks(np.full(10, 480), 12, 16, seed=0, epoch=0)
    assert all(len(np.unique(blocks[:, 0])) >= 6 for blocks in plan)  # 25 blocks of 10 shards a lane
