"""Streamed k-means, spherical or Euclidean: a drawn start, mini-batches, then exact Lloyd passes.

N vectors, D dimensions, K centroids, L lanes, S vectors of a sample. The data are met through `Lanes` alone: blocks of
float32 vectors. Counts are int64 and sums float64, right beyond the 2^24 points per centroid at which float32 stops.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64

from audio_tokens.engine.codebook.kmeans.reservoir import Reservoir
from audio_tokens.engine.codebook.kmeans.starts import STARTS
from audio_tokens.engine.codebook.nearest.search import Metric, Nearest, best_nearest, unit_length
from audio_tokens.engine.lanes import Lanes, in_lane_order
from audio_tokens.engine.ranges import Count, Natural, NotNegative, Range, check
from audio_tokens.engine.world import World
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator

WORST = 32  # badly served vectors that each lane proposes for dead centroids in a pass
DEAD_AFTER = 20  # vectors per centroid after which one that met none counts as dead, in the mini-batches
Clusters = Annotated[int, Range(1, 65_000)]  # tokens are 16-bit numbers
SHUFFLE_CHUNKS = 16  # mini-batch chunks that a lane mixes at a time: 16 x 512 x 150 float32 are 5 MB


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """From vectors to centroids.

    Args:
        clusters: centroids of each token stream, say [500] or [500, 200]
        metric: cosine (spherical k-means) or euclidean
        start: how the first centroids are drawn from a sample of the vectors: k-means++, afk-mc2 or random
        sample_per_centroid: vectors sampled for the start, per centroid
        batch_epochs: epochs of mini-batches before the exact passes
        chunk_vectors: vectors a lane adds to one mini-batch
        memory_vectors: a count is cut to this before a mini-batch, so that older vectors fade; 0 forgets nothing
        passes: exact passes over the data, at most
        tolerance: passes end when the distortion falls by less than this share
        checkpoint_batches: mini-batches between checkpoints
        lanes: parts the data is read in; processes share them out, so results do not depend on their number
        block_clips: neighbouring clips read together by a lane
    """

    clusters: tuple[Clusters, ...] = (500,)
    metric: Literal["cosine", "euclidean"] = "cosine"
    start: Literal["k-means++", "afk-mc2", "random"] = "k-means++"
    sample_per_centroid: Count = 64
    batch_epochs: Natural = 2
    chunk_vectors: Count = 512
    memory_vectors: Natural = 40
    passes: Count = 20
    tolerance: NotNegative = 3e-3
    checkpoint_batches: Count = 100
    lanes: Count = 12
    block_clips: Count = 16

    def __post_init__(self) -> None:
        check(self, "kmeans.")
        if not self.clusters:
            raise UserError("kmeans.clusters is []; give a number of centroids per stream")


@runtime_checkable
class VectorLanes(Lanes, Protocol):
    """Lanes whose blocks are vectors, float32 [N, dims]; of unit length under the cosine metric."""

    dims: int


@dataclass(frozen=True)
class KMeansState:
    """Where k-means stands; continuing from any state equals never having stopped.

    `epoch` counts the finished epochs of the stage, `step` the mini-batches done in the current one, `recent_K` the
    vectors met since the last look for dead centroids; `history` has one row per exact pass.
    """

    stage: Literal["batches", "passes", "done"]
    epoch: int
    step: int
    means_KD: Float64[np.ndarray, "K D"]
    counts_K: Int64[np.ndarray, "K"]
    recent_K: Int64[np.ndarray, "K"]
    history: tuple[dict[str, int | float], ...] = ()

    def centroids(self, metric: Metric) -> Float32[np.ndarray, "K D"]:
        """Return the centroids: the means, under cosine scaled to length 1."""
        means_KD = self.means_KD.astype(np.float32)
        return unit_length(means_KD) if metric == "cosine" else means_KD


@dataclass(frozen=True)
class KMeans:
    """k-means of `data` into `clusters` centroids; `nearest` turns centroids into what finds the nearest of them."""

    data: VectorLanes
    clusters: int
    config: KMeansConfig
    seed: int = 0
    world: World = field(default_factory=World)
    nearest: Callable[[np.ndarray], Nearest] | None = None

    def states(self, state: KMeansState | None = None) -> Iterator[KMeansState]:
        """Yield the state after the start, every `checkpoint_batches` mini-batches and every pass, done at last.

        Goes on from `state` where one is given. Raises UserError where there are fewer vectors than centroids.
        """
        if state is None:
            state = self._start()
            yield state
        while state.stage == "batches":
            if state.epoch == self.config.batch_epochs:
                state = replace(state, stage="passes", epoch=0)
            else:
                for later in self._batches(state):
                    state = later
                    yield state
        while state.stage == "passes":
            state = self._pass(state)
            yield state

    def _nearest(self, state: KMeansState) -> Nearest:
        make = self.nearest or best_nearest(self.config.metric)
        return make(state.centroids(self.config.metric))

    def _start(self) -> KMeansState:
        """Draw a sample of the stream, and the first centroids from the sample."""
        room = -(-self.config.sample_per_centroid * self.clusters // self.data.lanes)

        def sample(lane: int) -> tuple[np.ndarray, ...]:
            reservoir = Reservoir(room, self.data.dims, generator(self.seed, "sample", lane))
            for x_ND in self.data.blocks(lane, 0):
                reservoir.add(x_ND)
            return reservoir.padded()

        kept = [x[np.isfinite(keys)] for keys, x in in_lane_order(sample, self.data.lanes, self.world)]
        x_SD = np.concatenate(kept)
        if self.config.metric == "cosine":
            x_SD = x_SD[x_SD.any(axis=1)]  # silence scaled to 0 has no direction a centroid could take
        if len(x_SD) < self.clusters:
            raise UserError(
                f"{len(x_SD)} vectors cannot fill {self.clusters} centroids; give more clips or lower kmeans.clusters"
            )
        draw = STARTS[self.config.start]
        chosen_K = draw(x_SD, self.clusters, self.config.metric, generator(self.seed, "start"))
        none_K = np.zeros(self.clusters, np.int64)
        return KMeansState("batches", 0, 0, x_SD[chosen_K].astype(np.float64), none_K, none_K)

    def _batches(self, state: KMeansState) -> Iterator[KMeansState]:
        """Go on with an epoch of mini-batches: a chunk of every lane, then every centroid moves towards its share."""
        epoch, size = state.epoch, self.config.chunk_vectors
        mine = range(self.world.rank, self.data.lanes + self.world.size, self.world.size)
        chunks = {lane: _chunks(self.data, lane, epoch, size, self.seed) for lane in mine}
        for _ in range(state.step):  # what an interrupted run has already done with
            for lane in mine:
                next(chunks[lane], None)
        while True:
            nearest = self._nearest(state)

            def work(lane: int, nearest: Nearest = nearest) -> tuple[np.ndarray, ...]:
                x_ND = next(chunks[lane], np.empty((0, self.data.dims), np.float32))
                ids_N, far_N = nearest(x_ND)
                return np.array(len(x_ND)), _padded(x_ND, size), _padded(ids_N, size), _padded(far_N, size)

            parts = [
                (x[:count], ids[:count], far[:count])
                for count, x, ids, far in in_lane_order(work, self.data.lanes, self.world)
            ]
            x_ND, ids_N, far_N = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
            if not len(x_ND):
                yield replace(state, epoch=epoch + 1, step=0)
                return
            state = self._moved(state, x_ND, ids_N, far_N)
            if state.step % self.config.checkpoint_batches == 0:
                yield state

    def _moved(self, state: KMeansState, x_ND: np.ndarray, ids_N: np.ndarray, far_N: np.ndarray) -> KMeansState:
        """Return the state after one mini-batch; now and then, centroids that meet nothing are put elsewhere."""
        sums_KD, batch_K = sum_by_id(x_ND, ids_N, self.clusters)
        means_KD, counts_K = moved(
            state.means_KD, state.counts_K, sums_KD.astype(np.float64), batch_K, self.config.memory_vectors
        )
        recent_K = state.recent_K + batch_K
        state = replace(state, step=state.step + 1, means_KD=means_KD, counts_K=counts_K, recent_K=recent_K)
        if recent_K.sum() < DEAD_AFTER * self.clusters:
            return state
        reservoir = Reservoir(self.clusters, self.data.dims, generator(self.seed, "reseed", state.epoch, state.step))
        reservoir.add(x_ND, far_N)
        return replace(_reseeded(state, recent_K == 0, reservoir.x_RD), recent_K=np.zeros_like(recent_K))

    def _pass(self, state: KMeansState) -> KMeansState:
        """One exact pass: every vector goes to its nearest centroid, then every centroid to the mean of its vectors."""
        nearest, dims = self._nearest(state), self.data.dims

        def work(lane: int) -> tuple[np.ndarray, ...]:
            sums_KD, counts_K = np.zeros((self.clusters, dims)), np.zeros(self.clusters, np.int64)
            distortion = 0.0
            worst = Reservoir(WORST, dims, generator(self.seed, "worst", state.epoch, lane))
            for x_ND in self.data.blocks(lane, 0):
                ids_N, far_N = nearest(x_ND)
                block_sums_KD, block_counts_K = sum_by_id(x_ND, ids_N, self.clusters)
                sums_KD += block_sums_KD
                counts_K += block_counts_K
                distortion += far_N.sum(dtype=np.float64)
                worst.add(x_ND, far_N)
            return sums_KD, counts_K, np.array(distortion), *worst.padded()

        sums_KD, counts_K = np.zeros((self.clusters, dims)), np.zeros(self.clusters, np.int64)
        distortion, keys, vectors = 0.0, [], []
        for lane_sums, lane_counts, lane_distortion, lane_keys, lane_worst in in_lane_order(
            work, self.data.lanes, self.world
        ):
            sums_KD += lane_sums
            counts_K += lane_counts
            distortion += float(lane_distortion)
            keys.append(lane_keys)
            vectors.append(lane_worst)
        order = np.argsort(np.concatenate(keys), kind="stable")
        order = order[: np.isfinite(np.concatenate(keys)).sum()]

        mean = distortion / int(counts_K.sum())
        dead_K = counts_K == 0
        row: dict[str, int | float] = {
            "pass": state.epoch + 1,
            "vectors": int(counts_K.sum()),
            "distortion": mean,
            "dead": int(dead_K.sum()),
        }
        means_KD = np.divide(sums_KD, counts_K[:, None], out=state.means_KD.copy(), where=~dead_K[:, None])
        moved_state = replace(
            state, epoch=state.epoch + 1, means_KD=means_KD, counts_K=counts_K, history=(*state.history, row)
        )
        moved_state = _reseeded(moved_state, dead_K, np.concatenate(vectors)[order])
        before = state.history[-1]["distortion"] if state.history else None
        settled = (
            before is not None and before - mean <= self.config.tolerance * before and not (dead_K.any() and len(order))
        )
        done = settled or moved_state.epoch == self.config.passes
        return replace(moved_state, stage="done" if done else "passes")


def sum_by_id(
    x_ND: Float32[np.ndarray, "N D"], ids_N: Int64[np.ndarray, "N"], clusters: int
) -> tuple[Float32[np.ndarray, "K D"], Int64[np.ndarray, "K"]]:
    """Return the sum and the number of the vectors of each id, for one block; blocks are to be added up in float64.

    A sparse product in float32, a quarter of the time of one in float64: a few vectors a centroid lose nothing by it.
    """
    from scipy.sparse import csr_array

    ones_N = np.ones(len(ids_N), np.float32)
    ones_NK = csr_array((ones_N, ids_N, np.arange(len(ids_N) + 1)), shape=(len(ids_N), clusters))
    return ones_NK.T @ x_ND, np.bincount(ids_N, minlength=clusters)


def moved(
    means_KD: Float64[np.ndarray, "K D"],
    counts_K: Int64[np.ndarray, "K"],
    sums_KD: Float64[np.ndarray, "K D"],
    batch_K: Int64[np.ndarray, "K"],
    memory_vectors: int = 0,
) -> tuple[Float64[np.ndarray, "K D"], Int64[np.ndarray, "K"]]:
    """Return means and counts after a mini-batch: the mean of all vectors so far.

    With `memory_vectors` the past weighs no more than so many vectors. Old assignments then fade, and the noise of the
    small batches carries centroids out of poor places: on ESC-10's slices the passes after it end 1 % lower.
    """
    kept_K = np.minimum(counts_K, memory_vectors) if memory_vectors else counts_K
    total_K = kept_K + batch_K
    gain_KD = sums_KD - batch_K[:, None] * means_KD
    step_KD = np.divide(gain_KD, total_K[:, None], where=batch_K[:, None] > 0, out=np.zeros_like(means_KD))
    return means_KD + step_KD, total_K


def _reseeded(state: KMeansState, dead_K: np.ndarray, x_RD: np.ndarray) -> KMeansState:
    """Put dead centroids, as far as the vectors reach, on vectors that were badly served; they begin without a past."""
    dead = np.flatnonzero(dead_K)[: len(x_RD)]
    means_KD, counts_K = state.means_KD.copy(), state.counts_K.copy()
    means_KD[dead], counts_K[dead] = x_RD[: len(dead)], 0
    return replace(state, means_KD=means_KD, counts_K=counts_K)


def _chunks(data: VectorLanes, lane: int, epoch: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield a lane's vectors in chunks of `size` (the last one may be smaller), mixed over several chunks' worth."""
    rng = generator(seed, "shuffle", epoch, lane)
    pool: list[np.ndarray] = []
    for x_ND in data.blocks(lane, epoch):
        pool.append(x_ND)
        if sum(map(len, pool)) >= SHUFFLE_CHUNKS * size:
            mixed = rng.permutation(np.concatenate(pool))
            whole = len(mixed) // size * size
            yield from mixed[:whole].reshape(-1, size, data.dims)
            pool = [mixed[whole:]]
    if pool:
        mixed = rng.permutation(np.concatenate(pool))
        for first in range(0, len(mixed), size):
            yield mixed[first : first + size]


def _padded(array: np.ndarray, rows: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])
