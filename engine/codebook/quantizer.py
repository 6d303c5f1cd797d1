"""From the mel of clips to vectors and token ids, by whatever streams have been fitted so far.

T frames, F mel bands, N positions of all clips together, D dimensions, K centroids, Q token streams.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from audio_tokens.engine.codebook.conv_bank import convolve
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest, unit_length
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.engine.codebook.slices import SliceConfig, normalise, stack
from audio_tokens.engine.codebook.whitening import Whitening


@dataclass(frozen=True)
class TokenStream:
    """What is fitted for one stream of tokens.

    `whitening` is none where slices are clustered as they are; `patches_KM` is the mean normalised mel slice (context
    x F) of the positions that each centroid stands for; under residual quantisation, of what the streams before left
    of it. `usage_K` counts those positions.
    """

    whitening: Whitening | None
    centroids_KD: Float32[np.ndarray, "K D"]
    patches_KM: Float32[np.ndarray, "K M"]
    usage_K: Int64[np.ndarray, "K"]


class Prepared(NamedTuple):
    """A clip's normalised mel, the frames made of it (after a convolution bank), its offset per band and scale."""

    normal_TF: np.ndarray
    frames_TF: np.ndarray
    offset_F: np.ndarray
    scale: float


class Step(NamedTuple):
    """One stream's vectors, their token ids, and how far each is from its centroid."""

    x_ND: np.ndarray
    ids_N: np.ndarray
    far_N: np.ndarray


class Quantizer:
    """Applies fitted streams to clips. Cheap to build; holds no data."""

    def __init__(
        self,
        slices: SliceConfig,
        metric: Metric,
        kernels_KW: Float32[np.ndarray, "K W"] | None,
        streams: Sequence[TokenStream],
        make_nearest: Callable[[Metric], Callable[[np.ndarray], Nearest]] = best_nearest,
    ) -> None:
        self.slices, self.streams = slices, tuple(streams)
        self._kernels_KW = kernels_KW
        self._nearest = [
            make_nearest(stream_metric(slices, metric, index))(stream.centroids_KD)
            for index, stream in enumerate(self.streams)
        ]

    def prepare(self, mel_TF: Float[np.ndarray, "T F"]) -> Prepared:
        """Normalise a clip and run it through the convolution bank, if there is one.

        Mel is rounded to float16 first, as shards store it: tokens are the same from shards and straight from audio.
        """
        rounded_TF = mel_TF.astype(np.float16, copy=False).astype(np.float32)
        normal_TF, offset_F, scale = normalise(rounded_TF, self.slices.normalise)
        frames_TF = normal_TF if self._kernels_KW is None else convolve(normal_TF, self._kernels_KW)
        return Prepared(normal_TF, frames_TF, offset_F, scale)

    def slices_of(self, clips: Sequence[Prepared], stream: int) -> Float32[np.ndarray, "N D"]:
        """Return the stacked frames of all positions of `clips`, as one stream sees them: in its bands."""
        covered = self.slices.covered_bands(stream, clips[0].frames_TF.shape[1])
        return stack([clip.frames_TF[:, covered] for clip in clips], self.slices, stream)

    def walk(self, clips: Sequence[Prepared]) -> list[Step]:
        """Return each fitted stream's vectors, ids and distances, in order."""
        steps: list[Step] = []
        for stream, nearest in zip(self.streams, self._nearest, strict=True):
            x_ND = self._input(clips, stream.whitening, steps)
            steps.append(Step(x_ND, *nearest(x_ND)))
        return steps

    def step(self, clips: Sequence[Prepared], stream: int) -> Step:
        """Return one stream's vectors, ids and distances, where no stream clusters what another left over."""
        x_ND = self._transformed(clips, stream, self.streams[stream].whitening)
        return Step(x_ND, *self._nearest[stream](x_ND))

    def next_vectors(self, clips: Sequence[Prepared], whitening: Whitening | None) -> Float32[np.ndarray, "N D"]:
        """Return what the stream after the fitted ones clusters, given its whitening."""
        if self.slices.residual:
            return self._input(clips, whitening, self.walk(clips))
        return self._transformed(clips, len(self.streams), whitening)

    def _input(
        self, clips: Sequence[Prepared], whitening: Whitening | None, before: Sequence[Step]
    ) -> Float32[np.ndarray, "N D"]:
        """Return the vectors of the stream that follows `before`; under residual quantisation, what those left over."""
        if self.slices.residual and before:
            return before[-1].x_ND - self.streams[len(before) - 1].centroids_KD[before[-1].ids_N]
        return self._transformed(clips, len(before), whitening)

    def _transformed(
        self, clips: Sequence[Prepared], stream: int, whitening: Whitening | None
    ) -> Float32[np.ndarray, "N D"]:
        """Return one stream's slices, whitened and scaled as configured."""
        x_ND = self.slices_of(clips, stream)
        if whitening is not None:
            x_ND = whitening(x_ND)
        return unit_length(x_ND) if self.slices.unit_length else x_ND


def stream_metric(slices: SliceConfig, metric: Metric, stream: int) -> Metric:
    """Return the metric of a stream: what is left over by the streams before has no direction to compare by."""
    return "euclidean" if slices.residual and stream else metric
