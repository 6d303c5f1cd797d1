"""Some clips of a source, each with a view of it: what whitening by views compares."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from audio_tokens.engine.sound.log_mel import FrontEnd
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import ClipError, UserError
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.inputs.front_end import ClipToViews
from audio_tokens.jobs.inputs.mel_lanes import mel_of
from audio_tokens.seeds import generator
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import Source, Task, numbered
from audio_tokens.shards.tasks.clip_step import make_clip

# At most so many, of so many shards and frames: they tell a covariance of a thousand dimensions, and take minutes.
CLIPS, SHARDS, FRAMES = 2_000, 500, 2_000_000


def compared(views: ViewConfig) -> ViewConfig:
    """Return the views that clips are compared with: one each, of the same moments, of that clip alone."""
    return replace(views, count=1, roll=False, mix=0.0)


class ViewPairs:
    """Lanes of pairs: the mel [T, F] of a clip and of its view. The clips are the first of shards that are drawn."""

    lanes = 16

    def __init__(self, source: Source, dataset: Dataset, places: Sequence[str], views: ViewConfig, seed: int) -> None:
        """`source` is what the data set was built from; clips of other splits or folds than `places` are not read."""
        self._source, self._places = source, places
        self._to_views = ClipToViews(FrontEnd(MelConfig.from_dict(mel_of(dataset))), compared(views), seed)
        keys = _drawn(dataset, places, seed)
        self._tasks = [(task, keys[number]) for number, task in numbered(source.tasks()) if number in keys]

    def blocks(self, lane: int, epoch: int) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """Yield blocks of one pair; a lane beyond the last one is empty. What cannot be read is told and left out."""
        for task, keys in self._tasks[lane :: self.lanes] if lane < self.lanes else ():
            try:
                yield from self._pairs(task, set(keys))
            except UserError:
                raise
            except Exception as error:  # whatever a damaged archive or a network may say
                say(f"cluster: {task.name} cannot be read to compare all of its clips with views: {error}")

    def _pairs(self, task: Task, left: set[str]) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        for clip in self._source.clips(task):
            if not isinstance(clip, Clip) or clip.key not in left or clip.place not in self._places:
                continue
            left.remove(clip.key)
            try:
                own, view = make_clip(self._to_views, (clip, None), 0, suspected=False)
                if not view.stands_in:
                    yield [(own.mel_TF, view.mel_TF)]
            except ClipError as error:
                say(f"cluster: {clip.source_id} cannot be compared with a view: {error}")
            if not left:
                return


def _drawn(dataset: Dataset, places: Sequence[str], seed: int) -> dict[int, set[str]]:
    """Return the keys of the clips to be compared, by the number of their task."""
    shards = dataset.shards_of(*places)
    drawn = generator(seed, "view pairs").permutation(len(shards))[:SHARDS].tolist()
    keys: dict[int, set[str]] = {}
    frames = 0
    for share, index in enumerate(drawn, start=1):
        for number in dataset.numbers_in(shards[index])[: CLIPS // len(drawn)]:
            if frames >= FRAMES * share // len(drawn):  # a shard may take what those before it left over
                break
            keys.setdefault(dataset.shards[shards[index]].task, set()).add(dataset.table.keys[number])
            frames += int(dataset.table.frames_C[number])
    return keys
