"""Fitting a codebook to a stream of clips, one token stream after the other.

Per stream: a survey (mean and covariance, in float64), whitening (by that covariance, or by that of how clips and views
differ) and k-means on clips drawn at random (see KMeansConfig.budget_vectors), then the usage and mean mel slice of
every centroid over all clips.
F mel bands, D dimensions, K centroids, M numbers of a mel slice, N positions.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.conv_bank import draw_kernels
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem, sum_by_id
from audio_tokens.engine.codebook.kmeans.streamed_kmeans import states
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.engine.codebook.quantizer import Prepared, Quantizer, TokenStream, stream_metric
from audio_tokens.engine.codebook.slices import SliceConfig, position_count, stack
from audio_tokens.engine.codebook.view_covariance import view_covariances
from audio_tokens.engine.codebook.whitening import Whitening, fit_whitening, mean_and_covariance, moments
from audio_tokens.engine.lanes import Lanes, sum_lanes
from audio_tokens.engine.world import World
from audio_tokens.errors import UserError

MOST_DIMS = 16_384  # of a slice: its covariance has 2.1 GB then
LEAST_MOVED = 1e-4  # of what slices vary by; less is the rounding of mel to float16


@dataclass(frozen=True)
class FitCheckpoint:
    """How far a fit has come; going on from any checkpoint equals never having stopped."""

    streams: tuple[TokenStream, ...] = ()
    history: tuple[dict[str, int | float], ...] = ()
    offset_F: np.ndarray | None = None
    scale: float = 0.0
    whitening: Whitening | None = None  # of the stream being fitted, with its k-means
    kmeans: KMeansState | None = None


@dataclass(frozen=True)
class CodebookFit:
    """The fit of a codebook to `mels`, whose blocks are lists of clips' log mel [T, F].

    `pairs`, which `slices.whiten_by` views needs, has blocks of clips' mel with that of a view of each.
    """

    mels: Lanes
    mel: dict[str, Any]
    slices: SliceConfig
    config: KMeansConfig
    seed: int = 0
    world: World = field(default_factory=World)
    make_nearest: Callable[[Metric], Callable[[np.ndarray], Nearest]] = best_nearest
    pairs: Lanes | None = None

    def __post_init__(self) -> None:
        if len(self.config.clusters) != len(self.slices.contexts):
            raise UserError(
                f"kmeans.clusters {list(self.config.clusters)} and slices.contexts {list(self.slices.contexts)} "
                "differ in length; give one number of each per stream"
            )
        for stream in range(len(self.slices.contexts)):
            if (dims := self._dims(stream)) > MOST_DIMS:
                raise UserError(
                    f"slices.contexts {list(self.slices.contexts)} make vectors of {dims:,} numbers, and at most "
                    f"{MOST_DIMS:,} are clustered: their covariance alone would take {8e-9 * dims**2:,.0f} GB"
                )
        if self.config.metric == "cosine" and not self.slices.unit_length:
            raise UserError("kmeans.metric cosine wants slices.unit_length true (or use metric euclidean)")
        if self.slices.whiten_by == "views" and self.pairs is None:
            raise UserError("slices.whiten_by views compares clips with views of them; give the fit pairs of both")

    @property
    def covariance_bytes(self) -> int:
        """Bytes of the covariances that whitening holds at a time; while they are summed, three times as many."""
        each = [8 * self._dims(stream) ** 2 for stream in range(len(self.slices.contexts))]
        whiten = self.slices.whiten_variance or self.slices.whiten_dims
        return (sum if self.slices.whiten_by == "views" else max)(each) if whiten else 0

    def checkpoints(self, state: FitCheckpoint | None = None) -> Iterator[FitCheckpoint]:
        """Yield a checkpoint wherever one is worth keeping, going on from `state`; the last has all streams fitted."""
        state = state or FitCheckpoint()
        within: Sequence[np.ndarray] = ()
        while len(state.streams) < len(self.slices.contexts):
            if state.kmeans is None:
                within = within or self._view_covariances(len(state.streams))
                state = self._survey(state, within)
            for step in states(self._problem(state), state.kmeans):
                state = replace(state, kmeans=step)
                yield state
            state = self._describe_centroids(state)
            yield state

    def readings_left(self, state: FitCheckpoint | None) -> tuple[int, int]:
        """Return how often drawn clips, and how often all clips, will still be read from `state` on, at most."""
        state, config = state or FitCheckpoint(), self.config
        streams = len(self.slices.contexts) - len(state.streams)
        whole = 2 + config.batch_epochs + config.passes  # the survey, the sample of the start, k-means
        if streams and (kmeans := state.kmeans) is not None:
            stages = {"batches": config.batch_epochs + config.passes, "passes": config.passes, "done": kmeans.epoch}
            return (streams - 1) * whole + stages[kmeans.stage] - kmeans.epoch, streams
        return streams * whole, streams

    def codebook(self, state: FitCheckpoint, origin: dict[str, Any]) -> Codebook:
        """Return the codebook of the last checkpoint."""
        assert state.offset_F is not None
        return Codebook(
            mel=self.mel,
            slices=self.slices,
            metric=self.config.metric,
            kernels_KW=self._kernels_KW,
            streams=state.streams,
            offset_F=state.offset_F,
            scale=state.scale,
            origin=origin,
            history=state.history,
        )

    @property
    def _kernels_KW(self) -> Float32[np.ndarray, "K W"] | None:
        return None if self.slices.conv_bank is None else draw_kernels(self.slices.conv_bank, self.seed)

    def _quantizer(self, state: FitCheckpoint) -> Quantizer:
        return Quantizer(self.slices, self.config.metric, self._kernels_KW, state.streams, self.make_nearest)

    def _clips(self, quantizer: Quantizer, lane: int, epoch: int) -> Iterator[list[Prepared]]:
        """Yield a lane's clips in blocks, until its share of the budget is spent.

        Blocks come in an order drawn for the epoch, so the first of them are a random sample: the same in every reading
        of epoch 0, on any number of processes.
        """
        left = -(-self.config.budget_vectors // self.mels.lanes) or math.inf
        for block in self.mels.blocks(lane, epoch):
            if left <= 0:
                return
            left -= sum(position_count(len(mel_TF), self.slices) for mel_TF in block)
            yield [quantizer.prepare(mel_TF) for mel_TF in block]

    def _survey(self, state: FitCheckpoint, within: Sequence[np.ndarray]) -> FitCheckpoint:
        """Read the drawn clips once: the levels that normalising takes away, and the moments that whitening needs."""
        stream, quantizer = len(state.streams), self._quantizer(state)
        whiten = (self.slices.whiten_variance or self.slices.whiten_dims) and not (self.slices.residual and stream)
        if stream and not whiten:
            return state
        bands, dims = self.mel["bands"], self._dims(stream) if whiten else 0

        def work(lane: int) -> tuple[np.ndarray, ...]:
            clips, offset_F, scale = 0, np.zeros(bands), 0.0
            count, sum_D, outer_DD = 0, np.zeros(dims), np.zeros((dims, dims))
            for block in self._clips(quantizer, lane, 0):
                clips += len(block)
                offset_F += np.sum([clip.offset_F for clip in block], axis=0, dtype=np.float64)
                scale += sum(clip.scale for clip in block)
                if whiten:
                    block_count, block_sum_D, block_outer_DD = moments(quantizer.slices_of(block, stream))
                    count += block_count
                    sum_D += block_sum_D
                    outer_DD += block_outer_DD
            return np.array(clips), offset_F, np.array(scale), np.array(count), sum_D, outer_DD

        clips, offset_F, scale, count, sum_D, outer_DD = sum_lanes(work, self.mels.lanes, self.world)
        if not clips:
            raise UserError("there are no clips to fit a codebook to; check the shards' splits or folds")
        if whiten:
            mean_D, covariance_DD = mean_and_covariance(int(count), sum_D, outer_DD)
            if within and np.trace(within[stream]) < LEAST_MOVED * np.trace(covariance_DD):
                raise UserError("views do not differ from their clips; let `views` move them, say by {speed: 0.1}")
            whitening = fit_whitening(
                mean_D,
                covariance_DD,
                variance=self.slices.whiten_variance,
                dims=self.slices.whiten_dims,
                floor=self.slices.whiten_floor,
                within_DD=within[stream] if within else None,
            )
            state = replace(state, whitening=whitening)
        return replace(state, offset_F=(offset_F / clips).astype(np.float32), scale=float(scale / clips))

    def _view_covariances(self, fitted: int) -> tuple[np.ndarray, ...]:
        """How the slices of clips and of their views differ, of every stream that is whitened so and not fitted yet."""
        if self.slices.whiten_by != "views" or (self.slices.residual and fitted):
            return ()
        assert self.pairs is not None
        streams = 1 if self.slices.residual else len(self.slices.contexts)
        dims = [self._dims(stream) for stream in range(streams)]
        return view_covariances(self.pairs, self._quantizer(FitCheckpoint()), dims, self.world)

    def _dims(self, stream: int) -> int:
        """Return how many numbers a slice of a stream has."""
        kernels = 1 if self.slices.conv_bank is None else self.slices.conv_bank.kernels
        covered = self.slices.covered_bands(stream, self.mel["bands"] * kernels)
        return self.slices.contexts[stream] * (covered.stop - covered.start)

    def _problem(self, state: FitCheckpoint) -> Problem:
        stream = len(state.streams)
        metric = stream_metric(self.slices, self.config.metric, stream)
        return Problem(
            data=_Vectors(self, state),
            clusters=self.config.clusters[stream],
            config=replace(self.config, metric=metric),
            seed=self.seed + (stream << 32),  # streams of one context are different codebooks
            world=self.world,
            nearest=self.make_nearest(metric),
        )

    def _describe_centroids(self, state: FitCheckpoint) -> FitCheckpoint:
        """Read all clips once more: how often each centroid is used, and the mean mel slice of its positions."""
        kmeans = state.kmeans
        assert kmeans is not None
        stream, clusters = len(state.streams), len(kmeans.means_KD)
        centroids_KD = kmeans.centroids(stream_metric(self.slices, self.config.metric, stream))
        width = self.slices.contexts[stream] * self.mel["bands"]
        blank = TokenStream(
            state.whitening, centroids_KD, np.zeros((clusters, width), np.float32), np.zeros(clusters, np.int64)
        )
        state = replace(state, streams=(*state.streams, blank))
        quantizer = self._quantizer(state)

        def work(lane: int) -> tuple[np.ndarray, ...]:
            patches_KM, usage_K, far = np.zeros((clusters, width)), np.zeros(clusters, np.int64), 0.0
            for mels in self.mels.blocks(lane, 0):
                block = [quantizer.prepare(mel_TF) for mel_TF in mels]
                # the streams before are none of this one's business, unless it clusters what they left over
                steps = quantizer.walk(block) if self.slices.residual else [quantizer.step(block, stream)]
                mel_NM = stack([clip.normal_TF for clip in block], self.slices, stream)
                if self.slices.residual:
                    for earlier, step in zip(state.streams[:-1], steps, strict=False):
                        mel_NM -= earlier.patches_KM[step.ids_N]
                sums_KM, counts_K = sum_by_id(mel_NM, steps[-1].ids_N, clusters)
                patches_KM += sums_KM
                usage_K += counts_K
                far += steps[-1].far_N.sum(dtype=np.float64)
            return patches_KM, usage_K, np.array(far)

        sums_KM, usage_K, far = sum_lanes(work, self.mels.lanes, self.world)
        patches_KM = (sums_KM / np.maximum(usage_K, 1)[:, None]).astype(np.float32)
        row = {
            "pass": len(kmeans.history) + 1,
            "vectors": int(usage_K.sum()),
            "distortion": float(far) / int(usage_K.sum()),
            "standard_error": 0.0,
            "dead": int((usage_K == 0).sum()),
        }
        rows = [{"stream": stream, **each} for each in (*kmeans.history, row)]
        done = replace(blank, patches_KM=patches_KM, usage_K=usage_K)
        return replace(
            state,
            streams=(*state.streams[:-1], done),
            history=(*state.history, *rows),
            whitening=None,
            kmeans=None,
        )


class _Vectors:
    """The vectors of the stream being fitted, as k-means reads them."""

    def __init__(self, fit: CodebookFit, state: FitCheckpoint) -> None:
        self.lanes = fit.mels.lanes
        self._fit, self._whitening = fit, state.whitening
        self._quantizer = fit._quantizer(state)
        probe = self._quantizer.prepare(np.zeros((1, fit.mel["bands"]), np.float32))
        self.dims: int = self._vectors([probe]).shape[1]

    def blocks(self, lane: int, epoch: int) -> Iterator[Float32[np.ndarray, "N D"]]:
        yield from map(self._vectors, self._fit._clips(self._quantizer, lane, epoch))

    def _vectors(self, clips: list[Prepared]) -> Float32[np.ndarray, "N D"]:
        return self._quantizer.next_vectors(clips, self._whitening)
