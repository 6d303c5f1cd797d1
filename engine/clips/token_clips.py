"""Clips as tokens, flat in memory or mapped: AudioSet's two million clips of 215 positions are 0.9 GB a stream.

Axes: B batch, R clips and their views, P positions of all of them, T positions of a clip, Q token streams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8, UInt16, UInt32
from torch import Tensor

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.runs import ragged
from audio_tokens.engine.codebook.soft_tokens import packed


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenRows:
    """Row r has ids_PQ[starts_R[r] : starts_R[r] + lengths_R[r]]; stream q counts its tokens 0..vocab_sizes[q]-1.

    Soft tokens (see soft_tokens.py) have a column, and an entry of `vocab_sizes`, for each alternative of a stream, and
    `cosines_PQ` beside the ids; the two become one when they are read. Whoever reads tokens from a disk sees that they
    are of the vocabulary: here they may be a mapping that is not to be read at once.
    """

    ids_PQ: UInt16[np.ndarray, "P Q"]
    starts_R: Int64[np.ndarray, "R"]
    lengths_R: Int64[np.ndarray, "R"]
    labels: Labels
    keys: Sequence[str]
    vocab_sizes: tuple[int, ...]
    cosines_PQ: UInt8[np.ndarray, "P Q"] | None = None

    def tokens(
        self, positions: slice | Int64[np.ndarray, "N"]
    ) -> UInt16[np.ndarray, "N Q"] | UInt32[np.ndarray, "N Q"]:
        """Return the tokens at some positions, soft ones where there are cosines."""
        ids_NQ = self.ids_PQ[positions]
        return ids_NQ if self.cosines_PQ is None else packed(ids_NQ, self.cosines_PQ[positions])

    def batch(self, rows_B: Int64[np.ndarray, "B"]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return ids_BTQ (int64), gathered without a loop; PAD, each stream's vocabulary size, follows a short clip."""
        runs = self.starts_R[rows_B], self.lengths_R[rows_B]
        ids_BTQ, real_BT = ragged(self.ids_PQ, *runs)
        if self.cosines_PQ is not None:
            ids_BTQ = packed(ids_BTQ, ragged(self.cosines_PQ, *runs)[0])
        ids_BTQ = ids_BTQ.astype(np.int64)
        if not real_BT.all():
            ids_BTQ[~real_BT] = self.vocab_sizes
        return torch.from_numpy(ids_BTQ), {}
