"""Mini-batches: a chunk of every lane, then every centroid moves towards its share.

N vectors, D dimensions, K centroids.
Sculley, "Web-scale k-means clustering", 2010, with counts cut so that old assignments fade.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem, VectorLanes, reseeded, sum_by_id
from audio_tokens.engine.codebook.kmeans.reservoir import Reservoir
from audio_tokens.engine.codebook.nearest.protocol import Nearest
from audio_tokens.engine.lanes import in_lane_order
from audio_tokens.seeds import generator

DEAD_AFTER = 20  # vectors per centroid after which one that met none counts as dead
FLAT_BATCHES = 64  # mini-batches whose mean distance is held against that of as many before; 393,000 vectors by default
SHUFFLE_CHUNKS = 16  # chunks that a lane mixes at a time: 16 x 512 x 150 float32 are 5 MB


def batches(problem: Problem, state: KMeansState) -> Iterator[KMeansState]:
    """Go on with an epoch of mini-batches, and yield the state every `checkpoint_batches` of them and at its end.

    The last epoch ends before all is read where mini-batches no longer pay: see `flat`.
    """
    epoch, size = state.epoch, problem.config.chunk_vectors
    mine = range(problem.world.rank, problem.data.lanes + problem.world.size, problem.world.size)
    chunks = {lane: _chunks(problem.data, lane, epoch, size, problem.seed) for lane in mine}
    for _ in range(state.step):  # what an interrupted run has already done with
        for lane in mine:
            next(chunks[lane], None)
    while True:
        nearest = problem.search(state)

        def work(lane: int, nearest: Nearest = nearest) -> tuple[np.ndarray, ...]:
            x_ND = next(chunks[lane], np.empty((0, problem.data.dims), np.float32))
            ids_N, far_N = nearest(x_ND)
            return np.array(len(x_ND)), _padded(x_ND, size), _padded(ids_N, size), _padded(far_N, size)

        parts = [
            (x[:count], ids[:count], far[:count])
            for count, x, ids, far in in_lane_order(work, problem.data.lanes, problem.world)
        ]
        x_ND, ids_N, far_N = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if not len(x_ND):
            yield replace(state, epoch=epoch + 1, step=0)
            return
        state = _after(problem, state, x_ND, ids_N, far_N)
        if flat(state.far_means, problem.config.tolerance):
            yield replace(state, epoch=problem.config.batch_epochs, step=0)
            return
        if state.step % problem.config.checkpoint_batches == 0:
            yield state


def _after(problem: Problem, state: KMeansState, x_ND: np.ndarray, ids_N: np.ndarray, far_N: np.ndarray) -> KMeansState:
    """Return the state after one mini-batch; now and then, centroids that meet nothing are put elsewhere."""
    sums_KD, batch_K = sum_by_id(x_ND, ids_N, problem.clusters)
    means_KD, counts_K = moved(
        state.means_KD, state.counts_K, sums_KD.astype(np.float64), batch_K, problem.config.memory_vectors
    )
    recent_K = state.recent_K + batch_K
    window = state.far_means if len(state.far_means) < 2 * FLAT_BATCHES else state.far_means[FLAT_BATCHES:]
    state = replace(
        state,
        step=state.step + 1,
        means_KD=means_KD,
        counts_K=counts_K,
        recent_K=recent_K,
        far_means=(*window, float(far_N.mean(dtype=np.float64))),
    )
    if recent_K.sum() < DEAD_AFTER * problem.clusters:
        return state
    reservoir = Reservoir(
        problem.clusters, problem.data.dims, generator(problem.seed, "reseed", state.epoch, state.step)
    )
    reservoir.add(x_ND, far_N)
    return replace(reseeded(state, recent_K == 0, reservoir.x_RD), recent_K=np.zeros_like(recent_K))


def flat(far_means: tuple[float, ...], tolerance: float) -> bool:
    """Say whether FLAT_BATCHES mini-batches are no more than `tolerance` nearer to centroids than as many before them.

    Looked at once in FLAT_BATCHES: to look after each one would be to wait for a lucky one.
    """
    if len(far_means) < 2 * FLAT_BATCHES:
        return False
    before, after = np.mean(far_means[:FLAT_BATCHES]), np.mean(far_means[FLAT_BATCHES:])
    return bool(before - after <= tolerance * before)


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
