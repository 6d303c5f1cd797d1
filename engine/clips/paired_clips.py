"""Clips as tokens and as mel: at every position the ids, and the mel they were made from.

Axes: B batch, R clips, T positions, D dimensions of a slice (context x mel bands).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.slices import SliceConfig, stack


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedRows:
    """The clips of `tokens`; the mel of clip r is row mel_rows_R[r] of `mel`. Views have no mel and are left out.

    `slices` says which frames a position's tokens were made from; where tokens of several contexts stand at a position,
    those of the smallest.
    """

    tokens: TokenRows
    mel: MelRows
    mel_rows_R: Int64[np.ndarray, "R"]
    slices: SliceConfig

    def announce(self, rows_B: Int64[np.ndarray, "B"]) -> None:
        """Say which rows will be read before long."""
        self.mel.announce(self.mel_rows_R[rows_B])

    @property
    def keys(self) -> Sequence[str]:
        return self.tokens.keys

    @property
    def lengths_R(self) -> Int64[np.ndarray, "R"]:
        return self.tokens.lengths_R[: len(self.mel_rows_R)]

    @property
    def labels(self) -> Labels:
        return self.tokens.labels

    def batch(self, rows_B: Int64[np.ndarray, "B"]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the tokens' batch, with `slices_BTD` (float32) of the normalised mel beside it, padded with 0."""
        ids_BTQ, _ = self.tokens.batch(rows_B)
        shape = (*ids_BTQ.shape[:2], self.slices.contexts[0] * self.mel.bands)
        slices_BTD = np.zeros(shape, dtype=np.float32)
        lengths_B = self.lengths_R[rows_B]
        for clip_TD, row, length in zip(slices_BTD, self.mel_rows_R[rows_B].tolist(), lengths_B.tolist(), strict=True):
            clip_TD[:length] = stack([self.mel.mel(row)], self.slices, 0)
        return ids_BTQ, {"slices_BTD": torch.from_numpy(slices_BTD)}
