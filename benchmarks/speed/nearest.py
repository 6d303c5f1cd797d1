"""Nearest centroid on CPU: numpy and FAISS beside the bare matrix product and scikit-learn; which is the default?

Expected before measuring, one core, float32: numpy at k=500, d=64 within 1.1 to 1.5 times the matrix product (173 ms
for 200,000 vectors, argmax and product overlapping in the cache); FAISS 1.4 to 1.7 times as long as numpy there, and
closer to it at k=5000; scikit-learn 3 times. At k=50 the passes over ids and scores weigh more than the product.
N vectors, D dimensions, K centroids.
"""

import os
from functools import partial
from itertools import product

import numpy as np

from audio_tokens.engine.codebook.nearest.faiss_search import FaissSearch
from audio_tokens.engine.codebook.nearest.numpy_search import CHUNK_BYTES, NumpyNearest
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest, unit_length
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.seeds import generator
from benchmarks.harness import FLOOR, Action, Race, Report

CLUSTERS, DIMS = (50, 500, 5000), (64, 128)
PRODUCT = FLOOR + "matrix product"
# Two paths that differ by less change places from run to run.
TIE = 1.1


def bench(report: Report) -> None:
    cores = len(os.sched_getaffinity(0))
    for clusters, dims in product(CLUSTERS, DIMS):
        race = _race(report, clusters, dims, "cosine")
        if (clusters, dims, cores) == (500, 64, 1):
            report.bar("k=500, d=64: time over the matrix product's", race.over(PRODUCT), at_most=1.5)
    _race(report, 500, 64, "euclidean")


def _race(report: Report, clusters: int, dims: int, metric: Metric) -> Race:
    from sklearn.metrics import pairwise_distances_argmin

    vectors = min(200_000, 100_000_000 // clusters) // (10 if report.quick else 1)
    rng = generator(0, "bench nearest")
    x_ND = unit_length(rng.standard_normal((vectors, dims), np.float32))
    centroids_KD = unit_length(rng.standard_normal((clusters, dims), np.float32))
    paths: dict[str, Nearest] = {
        "NumpyNearest": NumpyNearest(centroids_KD, metric),
        "FaissNearest": FaissSearch(metric)(centroids_KD),
    }
    default = type(best_nearest(metric)(centroids_KD)).__name__
    paths = {default: paths.pop(default)} | paths  # the default is ours, the other a peer
    centroids_DK = np.ascontiguousarray(centroids_KD.T)
    rows = CHUNK_BYTES // (4 * clusters)
    scores_NK = np.empty((rows, clusters), np.float32)

    def bare_product() -> None:
        for start in range(0, vectors, rows):
            chunk_ND = x_ND[start : start + rows]
            np.dot(chunk_ND, centroids_DK, out=scores_NK[: len(chunk_ND)])

    contenders: dict[str, Action] = {name: partial(path, x_ND) for name, path in paths.items()} | {
        "scikit-learn": lambda: pairwise_distances_argmin(x_ND, centroids_KD),  # of unit vectors: cosine and L2 agree
        PRODUCT: bare_product,
    }
    case = f"k={clusters}, d={dims}, {metric}"
    race = report.race(case, contenders, work=vectors, unit="vectors")
    fastest = min(paths, key=race.median_s)
    ids = [path(x_ND)[0] for path in paths.values()]
    report.figures(case, default=default, faster=fastest, same_ids=float(np.mean(ids[0] == ids[1])))
    report.bar(f"{case}: {default}, the default, over the faster path's time", race.over(fastest), at_most=TIE)
    return race
