from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.codebook.kmeans.batches import moved
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.kmeans.problem import Problem
from audio_tokens.engine.codebook.kmeans.starts import STARTS
from audio_tokens.engine.codebook.kmeans.streamed_kmeans import states
from audio_tokens.engine.codebook.nearest.numpy_search import NumpyNearest
from audio_tokens.errors import UserError
from tests.engine.codebook.toy_fit import ArrayLanes, blobs, in_worlds

CONFIG = KMeansConfig(clusters=(20,), chunk_vectors=16, checkpoint_batches=2, sample_per_centroid=16)


def fit(blocks, clusters=20, config=CONFIG, **options):
    *_, last = states(Problem(ArrayLanes(blocks), clusters, config, **options))
    return last


def served(state, x_ND, metric="cosine"):
    return NumpyNearest(state.centroids(metric), metric)(x_ND)[1]


@pytest.mark.parametrize("order", ["first half first", "second half first", "shuffled"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_two_different_halves_are_both_represented_in_any_order(order, metric):
    x_ND = blobs(0, centres=20, per_centre=120)
    halves = [x_ND[:1200], x_ND[1200:]]
    if order == "second half first":
        halves.reverse()
    stream = np.concatenate(halves)
    if order == "shuffled":
        stream = np.random.default_rng(0).permutation(stream)
    state = fit(np.array_split(stream, 30), config=replace(CONFIG, metric=metric, batch_epochs=2))
    far_N = served(state, x_ND, metric)
    # a centroid per direction leaves about 16 x 0.05^2 / 2 = 0.02 (cosine), 0.04 (squared distance); a lost half, 0.5
    for half in (far_N[:1200], far_N[1200:]):
        assert half.mean() < 0.1
    counts_K = np.bincount(NumpyNearest(state.centroids(metric), metric)(x_ND)[0], minlength=20)
    assert counts_K.min() > 0


def test_class_ordered_data_is_clustered_as_well_as_shuffled_data():
    x_ND = blobs(1, centres=60, per_centre=60, spread=0.2)
    ordered = served(fit(np.array_split(x_ND, 90)), x_ND).mean()
    shuffled = served(fit(np.array_split(np.random.default_rng(0).permutation(x_ND), 90)), x_ND).mean()
    assert abs(ordered / shuffled - 1) < 0.05  # of 20 centroids for 60 directions; seeds differ by 2 %


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_exact_passes_never_make_it_worse_and_no_centroid_is_left_dead(start, metric):
    x_ND = blobs(2, centres=50, per_centre=40, spread=0.2)
    state = fit(np.array_split(x_ND, 20), config=replace(CONFIG, start=start, metric=metric, batch_epochs=0))
    distortions = [row["distortion"] for row in state.history]
    assert len(distortions) > 2
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in pairwise(distortions))
    assert state.history[-1]["dead"] == 0
    assert all(row["vectors"] == 2000 for row in state.history)


def test_as_good_as_faiss_on_the_same_vectors():
    import faiss

    x_ND = blobs(3, centres=100, per_centre=60, spread=0.3)
    peer = faiss.Kmeans(16, 50, niter=20, spherical=True, max_points_per_centroid=10**6, seed=1)
    peer.train(x_ND)
    theirs = (1 - peer.index.search(x_ND, 1)[0]).mean()
    ours = served(fit(np.array_split(x_ND, 40), clusters=50), x_ND).mean()
    assert ours < 1.02 * theirs


@pytest.mark.parametrize("batch_epochs", [0, 2])
def test_going_on_from_any_state_equals_never_having_stopped(batch_epochs):
    blocks = np.array_split(blobs(4, centres=40, per_centre=50, spread=0.2), 25)
    config = replace(CONFIG, batch_epochs=batch_epochs, passes=4, tolerance=0.0)
    problem = Problem(ArrayLanes(blocks), 20, config, seed=3)
    every = list(states(problem))
    assert len(every) > 4
    for state in every[:-1]:
        *_, last = states(problem, state)
        assert np.array_equal(last.means_KD, every[-1].means_KD)
        assert np.array_equal(last.counts_K, every[-1].counts_K)
        assert last.history == every[-1].history


def test_mini_batches_end_when_they_no_longer_pay_and_are_gone_on_from_alike():
    x_ND = np.random.default_rng(5).permutation(blobs(5, centres=20, per_centre=800, spread=0.2))
    config = replace(CONFIG, batch_epochs=4, passes=1, tolerance=0.02)  # the noise of such small batches
    problem = Problem(ArrayLanes(np.array_split(x_ND, 200)), 20, config, seed=3)
    every = list(states(problem))
    batches = 4 * len(x_ND) // (12 * problem.config.chunk_vectors)
    assert len(every) * problem.config.checkpoint_batches < batches * 2 / 3
    *_, longer = states(replace(problem, config=replace(problem.config, passes=4, tolerance=0.0)))
    assert served(every[-1], x_ND).mean() < 1.02 * served(longer, x_ND).mean()
    for state in every[20:-1:30]:
        *_, last = states(problem, state)
        assert np.array_equal(last.means_KD, every[-1].means_KD)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_number_of_processes_does_not_change_one_bit(size):
    blocks = np.array_split(blobs(5, centres=40, per_centre=50, spread=0.2), 25)
    alone = fit(blocks)

    def work(world):
        *_, last = states(Problem(ArrayLanes(blocks), 20, CONFIG, world=world))
        return last

    for state in in_worlds(size, work):
        assert np.array_equal(state.means_KD, alone.means_KD)
        assert state.history == alone.history


def test_fewer_vectors_than_centroids_are_refused():
    with pytest.raises(UserError, match="15 vectors cannot fill 20 centroids"):
        fit(np.array_split(blobs(6, 15, 1), 3))


@settings(deadline=None)
@given(past=st.integers(1, 2**50), batch=st.integers(1, 1000), seed=st.integers(0, 9))
def test_counts_far_beyond_2_to_the_24_still_move_the_mean_exactly(past, batch, seed):
    mean, x_N = 0.25, np.random.default_rng(seed).random(batch)
    means_KD, counts_K = moved(np.array([[mean]]), np.array([past]), np.array([[x_N.sum()]]), np.array([batch]))
    assert counts_K[0] == past + batch
    exact_step = (Fraction(float(x_N.sum())) - batch * Fraction(mean)) / (past + batch)
    step = Fraction(float(means_KD[0, 0])) - Fraction(mean)
    assert abs(step - exact_step) < Fraction(1, 2**52)


def test_a_float32_count_would_stand_still_where_ours_goes_on():
    past = np.array([2**24])
    assert np.float32(past[0]) + np.float32(1) == np.float32(past[0])
    assert moved(np.zeros((1, 1)), past, np.ones((1, 1)), np.array([1]))[1][0] == 2**24 + 1


def test_a_short_memory_lets_the_past_fade():
    means_KD, counts_K = moved(np.zeros((1, 1)), np.array([1000]), np.full((1, 1), 10.0), np.array([10]), 20)
    assert counts_K.dtype == np.int64
    assert counts_K[0] == 30
    assert means_KD[0, 0] == pytest.approx(10 / 30)


def test_silence_is_neither_a_centroid_nor_a_badly_served_vector():
    x_ND = np.concatenate([np.zeros((500, 16), np.float32), blobs(7, centres=20, per_centre=30)])
    state = fit(np.array_split(np.random.default_rng(0).permutation(x_ND), 20))
    assert np.linalg.norm(state.centroids("cosine"), axis=1) == pytest.approx(np.ones(20), abs=1e-5)
