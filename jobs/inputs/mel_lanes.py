"""Mel shards as a fit reads them: in lanes of shuffled blocks of clips."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.plan import lane_blocks


def mel_of(dataset: Dataset) -> dict[str, Any]:
    """Return the mel configuration of a data set. Raises UserError where it holds something else."""
    if "mel" not in dataset.producer:
        raise UserError(f"{dataset.location} does not say which mel it holds; build the data set again")
    return dataset.producer["mel"]


class MelLanes:
    """The clips of some shards of a data set; `on_block` is told how many clips each block had."""

    def __init__(
        self,
        dataset: Dataset,
        shards: Sequence[int],
        *,
        lanes: int,
        block_clips: int,
        seed: int,
        on_block: Callable[[int], object] = lambda clips: None,
    ) -> None:
        self.lanes = lanes
        self._dataset, self._shards, self._on_block = dataset, shards, on_block
        self._clips = np.array([dataset.shards[index].clips for index in shards], np.int64)
        # planned once an epoch, for all lanes: 64 lanes of two million clips would plan for a minute and more else
        self._plan = lru_cache(maxsize=2)(partial(lane_blocks, self._clips, lanes, block_clips, seed))

    def blocks(self, lane: int, epoch: int) -> Iterator[list[np.ndarray]]:
        """Yield lists of mel [T, F]; a lane beyond the last one is empty."""
        if lane >= self.lanes:
            return
        for shard, start, stop in self._plan(epoch)[lane].tolist():
            yield [sample.array_TF for sample in self._dataset.read(self._shards[shard], start, stop)]
            self._on_block(stop - start)
