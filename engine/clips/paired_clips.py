"""Clips known by their tokens and by their mel: at every position the ids, and the mel they were made from.

Axes: C clips, B batch, T positions, D dimensions of a slice (context x mel bands).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64

from audio_tokens.engine.clips.token_clips import SCALES, Batch, Labels, MelClips, TokenClips, ahead
from audio_tokens.engine.codebook.slices import SliceConfig, stack


@dataclass(frozen=True, kw_only=True)
class PairedClips:
    """The same clips, in the same order, as tokens and as mel; `slices` says which frames a position's tokens saw.

    Where tokens of several contexts stand at a position, the slice is the window of the smallest.
    """

    tokens: TokenClips
    mel: MelClips
    slices: SliceConfig

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def keys(self) -> Sequence[str]:
        return self.tokens.keys

    @property
    def lengths_C(self) -> Int64[np.ndarray, "C"]:
        return self.tokens.lengths_C

    @property
    def labels(self) -> Labels:
        return self.tokens.labels

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "PairedClips":
        """Return some clips only, in the order given."""
        return replace(self, tokens=self.tokens.select(clips_B), mel=self.mel.select(clips_B))

    def narrowed(self, chosen: Sequence[int]) -> "PairedClips":
        """Return the same clips with the `chosen` labels only."""
        return replace(self, tokens=self.tokens.narrowed(chosen))

    def drawn(self, rng: np.random.Generator) -> "PairedClips":
        """Return the clips as they are: a view has tokens, but no mel to go beside them."""
        return self

    def versions(self) -> "list[PairedClips]":
        """Return the clips as they are, alone."""
        return [self]

    def batches(self, parts: Iterable[Int64[np.ndarray, "..."]]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers, the next two read while one is worked on."""
        return ahead(map(self.batch, parts), depth=2)

    def batch(self, clips_B: Int64[np.ndarray, "B"]) -> Batch:
        """Return the clips `clips_B` as tokens, with `slices_BTD` of their normalised mel beside them, 0 as padding."""
        batch = self.tokens.batch(clips_B)
        shape = (*batch.input.shape[:2], self.slices.contexts[0] * self.mel.bands)
        slices_BTD = np.zeros(shape, dtype=np.float32)
        for row, clip in enumerate(clips_B.tolist()):
            mel_TF = SCALES[self.mel.scale](self.mel.fetch(int(self.mel.rows_C[clip])))
            slices_BTD[row, : batch.lengths_B[row]] = stack([mel_TF], self.slices, 0)
        return batch._replace(beside={"slices_BTD": torch.from_numpy(slices_BTD)})
