"""The labels of clips. Axes: C clips (or their versions), B batch, L labels, N labels of all clips together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer

from audio_tokens.engine.clips.runs import entries_of


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Which of `count` labels each clip has: clip c has ids[starts_C[c] : starts_C[c] + lengths_C[c]].

    `shares` says how much of each is in the clip, where clips were mixed; else 1 of each.
    """

    ids: Int64[np.ndarray, "N"]
    starts_C: Int64[np.ndarray, "C"]
    lengths_C: Int64[np.ndarray, "C"]
    count: int
    shares: Float32[np.ndarray, "N"] | None = None

    @classmethod
    def one_after_the_other(
        cls,
        ids: Integer[np.ndarray, "N"],
        lengths_C: Int64[np.ndarray, "C"],
        count: int,
        shares: Float32[np.ndarray, "N"] | None = None,
    ) -> "Labels":
        """Return the labels of clips whose ids lie side by side in the clips' order."""
        starts_C = np.cumsum(lengths_C) - lengths_C
        return cls(ids=ids.astype(np.int64), starts_C=starts_C, lengths_C=lengths_C, count=count, shares=shares)

    def targets(self, clips_B: Int64[np.ndarray, "B"]) -> Float32[np.ndarray, "B L"]:
        """Return the share of every label in `clips_B`, 0..1."""
        lengths_B = self.lengths_C[clips_B]
        entries = entries_of(self.starts_C[clips_B], lengths_B)
        targets_BL = np.zeros((len(clips_B), self.count), dtype=np.float32)
        shares = np.float32(1) if self.shares is None else self.shares[entries]
        targets_BL[np.repeat(np.arange(len(clips_B)), lengths_B), self.ids[entries]] = shares
        return targets_BL

    def table(self) -> Bool[np.ndarray, "C L"]:
        """Return which labels all clips have."""
        return self.targets(np.arange(len(self.starts_C))) > 0

    def counts(self) -> Int64[np.ndarray, "L"]:
        """Return how many clips have each label."""
        return np.bincount(self.ids[entries_of(self.starts_C, self.lengths_C)], minlength=self.count)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "Labels":
        """Return the labels of some clips only."""
        return replace(self, starts_C=self.starts_C[clips_B], lengths_C=self.lengths_C[clips_B])

    def only(self, chosen: Sequence[int]) -> "Labels":
        """Return the labels of every clip without those that are not `chosen`; label chosen[i] becomes i."""
        new_ids_L = np.full(self.count, -1, dtype=np.int64)
        new_ids_L[list(chosen)] = np.arange(len(chosen))
        new_ids_N = new_ids_L[self.ids]
        kept_before_N = np.concatenate([[0], np.cumsum(new_ids_N >= 0)])
        starts_C = kept_before_N[self.starts_C]
        lengths_C = kept_before_N[self.starts_C + self.lengths_C] - starts_C
        kept_N = new_ids_N >= 0
        shares = None if self.shares is None else self.shares[kept_N]
        return Labels(ids=new_ids_N[kept_N], starts_C=starts_C, lengths_C=lengths_C, count=len(chosen), shares=shares)
