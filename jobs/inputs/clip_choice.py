"""Which classes and which training clips a system learns, chosen when the data is read. C clips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from audio_tokens.engine.clips.table import Clips
from audio_tokens.errors import UserError
from audio_tokens.jobs.inputs.training_data import TrainingData
from audio_tokens.seeds import hashed
from audio_tokens.shards.labels import choose_labels
from audio_tokens.shards.sources.files import text_lines
from audio_tokens.shards.subset import parse_subset


def with_classes(data: TrainingData, wanted: str, learnt: tuple[str, ...]) -> TrainingData:
    """Return `data` with the labels that `wanted` names (shards/labels.py) and only the clips that have one of them.

    Frequencies are those of the places that are learnt from. Raises UserError where `wanted` names no label.
    """
    counts_L = data.read(learnt)[0].labels.counts()
    return with_labels(data, choose_labels(wanted, data.labels, counts_L.tolist()))


def with_labels(data: TrainingData, chosen: Sequence[int]) -> TrainingData:
    """Return `data` with the labels `chosen` by number and only the clips that have one of them."""

    def read(places: tuple[str, ...]) -> tuple[Clips, Sequence[str]]:
        clips, groups = data.read(places)
        clips = clips.narrowed(chosen)
        kept = np.flatnonzero(clips.labels.lengths_C)
        return clips.select(kept), [groups[clip] for clip in kept.tolist()]

    names = tuple(data.labels[number] for number in chosen)
    single = all((read((place,))[0].labels.lengths_C == 1).all() for place in data.places)
    return replace(data, labels=names, single_label=single, read=read)


@dataclass(frozen=True)
class ClipSubset:
    """A subset of the clips that are learnt from: a share, a number of recordings, files of keys, or their union."""

    text: str
    seed: int

    @cached_property
    def named(self) -> frozenset[str]:
        """Return the keys that stand in its files. Raises UserError where a part is neither a number nor a file."""
        return frozenset(key for name in parse_subset(self.text).names for key in _keys(name))

    def mask(self, keys: Sequence[str], groups: Sequence[str]) -> Bool[np.ndarray, "C"]:
        """Return which clips are taken; recordings (groups) are taken whole, keys one by one.

        Raises UserError where a part is neither a number nor a file, or no clip is left.
        """
        below, named = parse_subset(self.text).threshold(groups, self.seed), self.named
        taken_C = np.array(
            [
                key in named or hashed(self.seed, "subset", group) < below
                for key, group in zip(keys, groups, strict=True)
            ],
            dtype=bool,
        )
        if not taken_C.any():
            raise UserError(f"--subset {self.text} takes none of the {len(keys)} training clips")
        return taken_C


def _keys(name: str) -> list[str]:
    try:
        return [key for line in text_lines(name) for key in line.split()]
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"--subset {name}: no ratio, no number and no file of keys, one a line") from None
