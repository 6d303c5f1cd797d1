"""Clips as log mel, fetched one at a time. Axes: B batch, R clips, T frames, F mel bands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int64
from torch import Tensor

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.errors import UserError


def normalised(mel_TF: Float[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
    """Return a clip's mel at mean 0 and deviation 1 (a constant clip becomes 0): raw systems read mel this way."""
    mel_TF = mel_TF.astype(np.float32)
    mel_TF -= mel_TF.mean()
    return mel_TF / max(float(mel_TF.std()), 1e-5)


def by_audioset(mel_TF: Float[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
    """Return mel of front end ast16k as AST expects it: by AudioSet's mean and twice its deviation, as published."""
    return (mel_TF.astype(np.float32) - np.float32(-4.2677393)) / np.float32(2 * 4.5689974)


SCALES = {"clip": normalised, "audioset": by_audioset}


@dataclass(frozen=True, kw_only=True, eq=False)
class MelRows:
    """Log mel of clips that `fetch` reads by row (float16 [T, F]); `scale`, a name in SCALES, is applied to each.

    `will_fetch` is told which rows will be fetched before long.
    """

    fetch: Callable[[int], Float16[np.ndarray, "T F"]]
    lengths_R: Int64[np.ndarray, "R"]
    labels: Labels
    keys: Sequence[str]
    bands: int
    scale: str = "clip"
    will_fetch: Callable[[Int64[np.ndarray, "B"]], None] = lambda rows_B: None

    def announce(self, rows_B: Int64[np.ndarray, "B"]) -> None:
        """Say which rows will be read before long."""
        self.will_fetch(rows_B)

    def mel(self, row: int) -> Float32[np.ndarray, "T F"]:
        """Return the normalised mel of one clip. Raises UserError where it is not finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            mel_TF = SCALES[self.scale](self.fetch(row))
        if not np.isfinite(mel_TF).all():
            raise UserError(
                f"clip {self.keys[row]} holds mel that is not finite; `audio-tokens verify` names a damaged shard"
            )
        return mel_TF

    def batch(self, rows_B: Int64[np.ndarray, "B"]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return mel_BTF (float32), padded with 0."""
        lengths_B = self.lengths_R[rows_B]
        mel_BTF = np.zeros((len(rows_B), int(lengths_B.max()), self.bands), dtype=np.float32)
        for clip_TF, row, length in zip(mel_BTF, rows_B.tolist(), lengths_B.tolist(), strict=True):
            clip_TF[:length] = self.mel(row)
        return torch.from_numpy(mel_BTF), {}
