"""Some clips of a source, each with a view of it: what whitening by views compares."""

from collections.abc import Container, Iterator
from dataclasses import replace

import numpy as np

from audio_tokens.engine.sound.log_mel import FrontEnd
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import ClipError
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.inputs.front_end import ClipToViews
from audio_tokens.seeds import generator
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import Source

CLIPS = 2_000  # at most: they tell a covariance of a thousand dimensions, and take a minute


class ViewPairs:
    """Lanes of pairs: a clip's mel [T, F] and that of its first view, not begun elsewhere nor mixed with another clip.

    As many clips are read of every task of the source, so that two million take no longer than two thousand.
    """

    lanes = 16

    def __init__(self, source: Source, keys: Container[str], front_end: FrontEnd, views: ViewConfig, seed: int) -> None:
        """Of the source's clips only those of some `keys` are compared."""
        tasks = source.tasks()
        drawn = generator(seed, "view pairs").permutation(len(tasks))[:CLIPS]
        self._tasks, self._clips_a_task = [tasks[index] for index in drawn], -(-CLIPS // max(1, len(drawn)))
        self._source, self._keys = source, keys
        self._to_views = ClipToViews(front_end, replace(views, count=1, roll=False, mix=0.0), seed)

    def blocks(self, lane: int, epoch: int) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """Yield blocks of one pair; a lane beyond the last one is empty."""
        if lane >= self.lanes:
            return
        for task in self._tasks[lane :: self.lanes]:
            left = self._clips_a_task
            for clip in self._source.clips(task):
                if not left:
                    break
                if not isinstance(clip, Clip) or clip.key not in self._keys:
                    continue
                try:
                    own, view = self._to_views(clip, None)
                except ClipError as error:
                    say(f"cluster: {clip.source_id} is not compared with a view: {error}")
                    continue
                if not view.stands_in:
                    left -= 1
                    yield [(own.mel_TF, view.mel_TF)]
