"""Which search a machine gets: torch on a GPU that it sees, else FAISS on one that it sees, else numpy on the CPU.

torch's fused kernel takes half to three quarters of FAISS's time (benchmarks/results/gpu.md). FAISS runs with older
drivers: a torch built for CUDA 13 sees no GPU where the driver is one for CUDA 12.
"""

import ctypes
from collections.abc import Callable
from functools import partial

import numpy as np

from audio_tokens.engine.codebook.nearest.numpy_search import NumpyNearest
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest


def gpu_count() -> int:
    """Return how many GPUs there are to search on: those that torch sees, or where it sees none, those of FAISS."""
    return torch_gpus() or faiss_gpus()


def best_nearest(metric: Metric, device: int | None = None) -> Callable[[np.ndarray], Nearest]:
    """Return what makes the fastest search of some centroids, on GPU `device` where one is given.

    On FAISS's GPU the search that was made last takes the place of the one before, which must not be used any more.
    """
    if device is None:
        return partial(NumpyNearest, metric=metric)
    if not torch_gpus():
        from audio_tokens.engine.codebook.nearest.faiss_search import FaissSearch

        return FaissSearch(metric, device)
    import torch

    from audio_tokens.engine.codebook.nearest.torch_search import TorchNearest

    return partial(TorchNearest, metric=metric, device=torch.device("cuda", device))


def faiss_gpus() -> int:
    """Return how many GPUs FAISS sees; only this call tells, since its resources construct happily without one."""
    import faiss

    return faiss.get_num_gpus()


def torch_gpus() -> int:
    """Return how many GPUs torch sees; a machine without NVIDIA's driver does not pay for importing it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    import torch

    return torch.cuda.device_count()
