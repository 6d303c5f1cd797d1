"""Laws of the nearest centroid: every path equals the obvious reference, and breaks ties alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.engine.codebook.nearest import torch_search
from audio_tokens.engine.codebook.nearest.faiss_search import FaissSearch
from audio_tokens.engine.codebook.nearest.numpy_search import NumpyNearest
from audio_tokens.engine.codebook.nearest.search import best_nearest, faiss_gpus, torch_gpus
from audio_tokens.engine.codebook.nearest.torch_search import TorchNearest
from tests.engine.codebook.toy_fit import blobs

PATHS = {
    "numpy": NumpyNearest,
    "faiss": lambda centroids_KD, metric: FaissSearch(metric)(centroids_KD),
    "torch": lambda centroids_KD, metric: TorchNearest(centroids_KD, metric, torch.device("cpu")),
}


def obvious(x_ND, centroids_KD, metric):
    """Distances of everything to everything, in float64."""
    x, c = x_ND.astype(np.float64), centroids_KD.astype(np.float64)
    far_NK = 1 - x @ c.T if metric == "cosine" else ((x[:, None] - c) ** 2).sum(axis=2)
    return far_NK.argmin(axis=1), far_NK.min(axis=1)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@given(vectors=st.integers(0, 300), clusters=st.integers(1, 40), dims=st.integers(1, 20), seed=st.integers(0, 99))
def test_equals_the_obvious_reference(path, metric, vectors, clusters, dims, seed):
    rng = np.random.default_rng(seed)
    x_ND = rng.normal(size=(vectors, dims)).astype(np.float32)
    centroids_KD = rng.normal(size=(clusters, dims)).astype(np.float32)
    if metric == "cosine":
        x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
        centroids_KD /= np.linalg.norm(centroids_KD, axis=1, keepdims=True)
    ids_N, far_N = PATHS[path](centroids_KD, metric)(x_ND)
    if not vectors:
        assert len(ids_N) == len(far_N) == 0
        return
    expected_N, expected_far_N = obvious(x_ND, centroids_KD, metric)
    assert np.abs(far_N - expected_far_N).max() < 2e-5 * max(1, expected_far_N.max())  # float32 against float64
    served_N = np.linalg.norm(x_ND - centroids_KD[ids_N], axis=1)
    best_N = np.linalg.norm(x_ND - centroids_KD[expected_N], axis=1)
    assert (ids_N == expected_N)[served_N - best_N > 1e-3].all()
    assert (served_N - best_N).max() < 1e-2


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_of_equal_centroids_the_lowest_id_is_taken(path, metric):
    distinct = blobs(0, centres=5, per_centre=1)
    centroids_KD = distinct[[3, 1, 3, 0, 1, 2, 4, 0]]
    ids_N, _ = PATHS[path](centroids_KD, metric)(distinct)
    assert ids_N.tolist() == [3, 1, 5, 0, 6]


@pytest.mark.parametrize("path", PATHS)
def test_a_zero_vector_is_token_0_and_never_badly_served(path):
    ids_N, far_N = PATHS[path](blobs(0, 7, 1), "cosine")(np.zeros((3, 16), np.float32))
    assert ids_N.tolist() == [0, 0, 0]
    assert far_N.tolist() == [0, 0, 0]


def test_more_vectors_than_a_chunk_holds():
    x_ND, centroids_KD = blobs(1, 30, 200), blobs(2, 300, 1)
    nearest = NumpyNearest(centroids_KD, "cosine")
    ids_N, _ = nearest(x_ND)
    assert len(x_ND) > (4 << 20) // (4 * 300)  # or nothing was chunked
    assert np.array_equal(ids_N, (x_ND @ centroids_KD.T).argmax(axis=1))


def test_vectors_and_centroids_beyond_a_tile_give_the_same(monkeypatch):
    monkeypatch.setattr(torch_search, "TILE_VECTORS", 7)
    monkeypatch.setattr(torch_search, "TILE_CENTROIDS", 5)
    x_ND, centroids_KD = blobs(1, 30, 3), blobs(2, 23, 1)
    for metric in ("cosine", "euclidean"):
        ids_N, far_N = PATHS["torch"](centroids_KD[[*range(23), 4]], metric)(x_ND)
        expected_N, expected_far_N = NumpyNearest(centroids_KD, metric)(x_ND)
        assert np.array_equal(ids_N, expected_N)
        assert np.abs(far_N - expected_far_N).max() < 1e-5


def test_an_index_is_used_again_and_a_search_of_its_former_centroids_is_refused():
    x_ND, first_KD, second_KD = blobs(3, 40, 5), blobs(4, 20, 1), blobs(5, 30, 1)
    make = FaissSearch("cosine")
    former = make(first_KD)
    assert np.array_equal(former(x_ND)[0], NumpyNearest(first_KD, "cosine")(x_ND)[0])
    index = make._index
    later = make(second_KD)
    assert make._index is index
    assert np.array_equal(later(x_ND)[0], NumpyNearest(second_KD, "cosine")(x_ND)[0])
    with pytest.raises(AssertionError, match="other centroids"):
        former(x_ND)


def test_without_a_gpu_the_cpu_searches():
    assert isinstance(best_nearest("cosine")(blobs(0, 3, 1)), NumpyNearest)


@pytest.mark.skipif(torch_gpus() == 0, reason="torch sees no GPU")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_every_gpu_path_agrees_with_numpy(metric):
    x_ND, centroids_KD = blobs(3, 40, 50, dims=45), blobs(4, 300, 1, dims=45)
    expected_N, expected_far_N = NumpyNearest(centroids_KD, metric)(x_ND)
    gpu = torch.device("cuda", 0)
    tiles, fused = (TorchNearest(centroids_KD, metric, gpu, fused=fused) for fused in (False, True))
    by_faiss = [FaissSearch(metric, 0)(centroids_KD)] if faiss_gpus() else []
    for nearest in (tiles, fused, *by_faiss):
        ids_N, far_N = nearest(x_ND)
        assert (ids_N == expected_N).mean() > 0.999
        assert np.abs(far_N - expected_far_N).max() < 1e-4
