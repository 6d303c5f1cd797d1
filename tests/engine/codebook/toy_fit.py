"""Small data that k-means and fits can be tried on: lanes over arrays held in memory, and worlds of threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from audio_tokens.engine.world import World


class ArrayLanes:
    """`blocks` dealt out over the lanes, each lane's in another order every epoch."""

    def __init__(self, blocks: list, lanes: int = 12) -> None:
        self._blocks, self.lanes = blocks, lanes
        self.dims = blocks[0].shape[1] if isinstance(blocks[0], np.ndarray) else 0

    def blocks(self, lane: int, epoch: int) -> Iterator:
        if lane < self.lanes:
            mine = self._blocks[lane :: self.lanes]
            for index in np.random.default_rng([epoch, lane]).permutation(len(mine)):
                yield mine[index]


def in_worlds(size: int, work: Callable[[World], object]) -> list:
    """Run `work` in `size` threads that gather from each other, and return what each of them returns."""
    barrier, shelf = threading.Barrier(size), [np.empty(0)] * size

    def gather_as(rank: int) -> Callable[[np.ndarray], np.ndarray]:
        def gather(array: np.ndarray) -> np.ndarray:
            assert array.size, "NCCL gathers no empty array"
            shelf[rank] = array
            barrier.wait(timeout=60)
            everything = np.stack(shelf)
            barrier.wait(timeout=60)
            return everything

        return gather

    def one(rank: int) -> object:
        try:
            return work(World(rank, size, gather_as(rank)))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(one, range(size)))


def blobs(seed: int, centres: int, per_centre: int, dims: int = 16, spread: float = 0.05) -> np.ndarray:
    """Unit vectors around random directions, in order of direction."""
    rng = np.random.default_rng(seed)
    x_ND = np.repeat(rng.normal(size=(centres, dims)), per_centre, axis=0)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    x_ND += spread * rng.normal(size=x_ND.shape)
    return (x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)).astype(np.float32)


def toy_mels(clips: int, seed: int = 0, bands: int = 8) -> list[np.ndarray]:
    """Mel of moving bumps over noise, float16 [T, F], 20 to 60 frames, no two alike."""
    rng = np.random.default_rng(seed)
    mels = []
    for _ in range(clips):
        frames = int(rng.integers(20, 61))
        centre_T = bands * (0.5 + 0.4 * np.sin(np.arange(frames) * rng.uniform(0.05, 0.4) + rng.uniform(0, 6)))
        bump_TF = np.exp(-((np.arange(bands) - centre_T[:, None]) ** 2) / rng.uniform(0.5, 4))
        mels.append((40 * bump_TF - 60 + rng.normal(size=(frames, bands))).astype(np.float16))
    return mels


def toy_pairs(mels: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each clip's mel with that of a view of it: a band higher, noisier and a tenth slower."""
    rng = np.random.default_rng(0)
    pairs = []
    for mel_TF in mels:
        slower_T = np.linspace(0, len(mel_TF) - 1, round(1.1 * len(mel_TF))).round().astype(int)
        view_TF = np.roll(mel_TF, 1, axis=1)[slower_T]
        pairs.append((mel_TF, (view_TF + rng.normal(size=view_TF.shape)).astype(np.float16)))
    return pairs
