"""Who sees which clip when: clips that are read from a disk stay in the pools they are read in, bucketed or not."""

import numpy as np
import pytest

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.shards.plan import POOL_CLIPS

CLIPS = 3 * POOL_CLIPS + 100


def mel_clips() -> Clips:
    lengths_R = np.random.default_rng(0).integers(10, 1000, CLIPS)
    one_each = np.ones(CLIPS, np.int64)
    labels = Labels.one_after_the_other(np.arange(CLIPS) % 5, one_each, 5)
    return Clips.of(
        MelRows(
            fetch=lambda row: np.zeros((int(lengths_R[row]), 2), np.float16),
            lengths_R=lengths_R,
            labels=labels,
            keys=[str(row) for row in range(CLIPS)],
            bands=2,
        )
    )


@pytest.mark.parametrize("batch_clips", [32, 64])
def test_buckets_of_stored_clips_stay_in_the_pool_of_the_windowed_order(batch_clips: int) -> None:
    clips = mel_clips()
    plain_C, bucketed_C = (
        order_of(TrainConfig(batch_clips=batch_clips, bucketing=bucketing), clips).epoch(CLIPS, 0, 1)
        for bucketing in (False, True)
    )
    padding = []
    for start in range(0, CLIPS, POOL_CLIPS):
        pool = slice(start, start + POOL_CLIPS)
        assert sorted(plain_C[pool].tolist()) == sorted(bucketed_C[pool].tolist())
    for order_C in (plain_C, bucketed_C):
        lengths = clips.lengths_C[order_C[: CLIPS // batch_clips * batch_clips]].reshape(-1, batch_clips)
        padding.append(lengths.max(axis=1).sum() * batch_clips / lengths.sum())
    assert padding[1] < 1.15 < 1.6 < padding[0]
