"""From mel frames to slices: normalise a clip, convolve, and stack neighbouring frames into one vector per position.

T frames, F mel bands (or kernels x bands after a convolution bank), P positions, D dimensions of a slice (context x F).

The position formula stands here and nowhere else: with contexts c_q and a stride s, a clip of T frames has
P = max(1, ceil((T - min c) / s) + 1) positions; position p of the smallest context starts at frame p*s, the window of a
larger context is centred on it, and frames beyond either end repeat the edge. So every frame lies in some window, and a
clip shorter than the context still gives one position.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from audio_tokens.engine.codebook.conv_bank import ConvBankConfig
from audio_tokens.engine.ranges import Count, NotNegative, ShareAbove0, check
from audio_tokens.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SliceConfig:
    """From mel frames to the vectors that are clustered.

    Args:
        normalise: what is done to each clip first: none, min-max (to 0..1) or mean-std (to mean 0, deviation 1)
        conv_bank: random kernels along the bands of every frame, {kernels: 3, kernel_size: 3} say; none without it
        contexts: frames stacked into one slice, one entry per token stream, say [4, 16]
        stride: frames between positions, the same for all streams
        whiten_variance: share of the variance kept by PCA whitening (0..1]; null for no whitening
        whiten_dims: number of dimensions kept instead of a share
        whiten_by: slices, or views: by the covariance of the differences between a clip and a view of it, which tokens
            should not show; the dimensions kept are those that vary most after it
        whiten_floor: added to every eigenvalue, as a share of the largest, so that noise is not blown up
        unit_length: scale every vector to length 1, as cosine clustering asks
        residual: every further stream clusters what the streams before it left over (equal contexts)
        bands: first and last mel band (counted from 0, the last excluded) that each stream covers; none for all of them
    """

    normalise: Literal["none", "min-max", "mean-std"] = "mean-std"
    conv_bank: ConvBankConfig | None = None
    contexts: tuple[Count, ...] = (4,)
    stride: Count = 2
    whiten_variance: ShareAbove0 | None = 0.99
    whiten_dims: Count | None = None
    whiten_by: Literal["slices", "views"] = "slices"
    whiten_floor: NotNegative = 1e-3
    unit_length: bool = True
    residual: bool = False
    bands: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISE:
            raise UserError(f"slices.normalise {self.normalise!r} is not one of: {', '.join(NORMALISE)}")
        check(self, "slices.")
        if not self.contexts:
            raise UserError("slices.contexts is []; give a number of frames per stream")
        if self.stride > min(self.contexts):
            raise UserError(f"slices.stride is {self.stride}; it must be 1 to the smallest context, to skip no frame")
        if self.residual and len(set(self.contexts)) > 1:
            raise UserError(f"slices.contexts {list(self.contexts)}: residual streams share one context")
        if self.whiten_by == "views" and not (self.whiten_floor and (self.whiten_variance or self.whiten_dims)):
            raise UserError(
                "slices.whiten_by views wants whiten_floor above 0, say 0.03, and whiten_variance, say 0.95"
            )
        self._check_bands()

    def _check_bands(self) -> None:
        if not self.bands:
            return
        if len(self.bands) != len(self.contexts):
            raise UserError(f"slices.bands {list(self.bands)}: give one pair per stream, {len(self.contexts)} of them")
        for first, last in self.bands:
            if not 0 <= first < last:
                raise UserError(f"slices.bands {[first, last]}: the first band comes before the last, from 0 on")
        if self.residual or self.conv_bank is not None:
            raise UserError("slices.bands go with neither residual streams nor a conv_bank; leave out either")

    def covered_bands(self, stream: int, bands: int) -> slice:
        """Return which of a frame's `bands` a stream covers; UserError where there are not so many."""
        first, last = self.bands[stream] if self.bands else (0, bands)
        if last > bands:
            raise UserError(f"slices.bands {[first, last]}: the mel has {bands} bands")
        return slice(first, last)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as config.json holds them: `whiten_by`, which came later, only where it says something."""
        fields = asdict(self)
        if self.whiten_by == "slices":
            del fields["whiten_by"]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SliceConfig":
        """Rebuild from `to_dict`."""
        bank = fields.get("conv_bank")
        contexts = tuple(fields["contexts"])
        bands = tuple((first, last) for first, last in fields.get("bands", ()))
        conv_bank = ConvBankConfig(**bank) if bank else None
        return cls(**{**fields, "contexts": contexts, "conv_bank": conv_bank, "bands": bands})


def _none(mel_TF: Float32[np.ndarray, "T F"]) -> tuple[np.ndarray, np.ndarray, float]:
    return mel_TF, np.zeros(mel_TF.shape[1], np.float32), 1.0


def _min_max(mel_TF: Float32[np.ndarray, "T F"]) -> tuple[np.ndarray, np.ndarray, float]:
    low = mel_TF.min()
    return mel_TF - low, np.full(mel_TF.shape[1], low, np.float32), float(mel_TF.max() - low)


def _mean_std(mel_TF: Float32[np.ndarray, "T F"]) -> tuple[np.ndarray, np.ndarray, float]:
    mean = mel_TF.mean()
    centred_TF = mel_TF - mean
    deviation = np.sqrt(np.square(centred_TF).mean())  # std() to the bit, which would centre once more
    return centred_TF, np.full(mel_TF.shape[1], mean, np.float32), float(deviation)


# Each gives a clip without its offset, that offset per band, and the scale: normalised = (mel - offset) / scale.
NORMALISE: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, float]]] = {
    "none": _none,
    "min-max": _min_max,
    "mean-std": _mean_std,
}


def normalise(
    mel_TF: Float32[np.ndarray, "T F"], how: str
) -> tuple[Float32[np.ndarray, "T F"], Float32[np.ndarray, "F"], float]:
    """Return the normalised clip, its offset per band and its scale; what does not move (digital silence) becomes 0.

    Whether it moves is asked exactly, of the extremes: the deviation of a constant is a rounding error, not 0.
    Raises UserError for mel that is not finite.
    """
    low, high = mel_TF.min(), mel_TF.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # one such clip would make a whole codebook of nothing
        raise UserError(
            f"a clip of {len(mel_TF)} frames holds mel that is not finite; `audio-tokens verify` names a damaged shard"
        )
    centred_TF, offset_F, scale = NORMALISE[how](mel_TF)
    if how == "none":
        return mel_TF, offset_F, scale
    if low == high:
        return np.zeros_like(mel_TF), offset_F, 0.0
    centred_TF /= np.float32(scale)
    return centred_TF, offset_F, scale


def position_count(frames: int, config: SliceConfig) -> int:
    """Return P, the tokens per stream of a clip of `frames` >= 1 frames."""
    return max(1, -(-(frames - min(config.contexts)) // config.stride) + 1)


def centre_frames(frames: int, config: SliceConfig) -> Int64[np.ndarray, "P"]:
    """Return the frame each position is centred on (the later of two middles), within the clip."""
    starts_P = np.arange(position_count(frames, config), dtype=np.int64) * config.stride
    return np.minimum(starts_P + min(config.contexts) // 2, frames - 1)


def window_starts(positions: int, config: SliceConfig, stream: int) -> Int64[np.ndarray, "P"]:
    """Return the frame each window of one stream begins at; a larger context begins before the clip does."""
    lead = (config.contexts[stream] - min(config.contexts)) // 2
    return np.arange(positions, dtype=np.int64) * config.stride - lead


def window_frames(frames: int, config: SliceConfig, stream: int) -> Int64[np.ndarray, "P context"]:
    """Return the frame numbers, 0..frames-1, that each position's window of one stream is stacked from."""
    starts_P = window_starts(position_count(frames, config), config, stream)
    return np.clip(starts_P[:, None] + np.arange(config.contexts[stream]), 0, frames - 1)


def window_rows(lengths: Sequence[int], config: SliceConfig, stream: int) -> Int64[np.ndarray, "N context"]:
    """Return the frame numbers of every window of some clips, whose frames lie one clip after the other."""
    firsts = np.cumsum(lengths) - lengths
    windows = [window_frames(frames, config, stream) + first for frames, first in zip(lengths, firsts, strict=True)]
    return np.concatenate(windows)


def stack(clips: Sequence[Shaped[np.ndarray, "_ F"]], config: SliceConfig, stream: int) -> Shaped[np.ndarray, "N D"]:
    """Return one stream's slices of some clips: the frames of each window side by side, D = context x F.

    One gather for all of them: memory is written once.
    """
    rows_NC = window_rows([len(frames_TF) for frames_TF in clips], config, stream)
    return np.concatenate(clips).take(rows_NC, axis=0).reshape(len(rows_NC), -1)
