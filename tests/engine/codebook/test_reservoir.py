import numpy as np
import pytest

from audio_tokens.engine.codebook.kmeans.reservoir import Reservoir


def test_every_vector_of_the_stream_has_the_same_chance():
    x_ND = np.arange(200, dtype=np.float32)[:, None]
    taken = np.zeros(200)
    for seed in range(1000):
        reservoir = Reservoir(20, 1, np.random.default_rng(seed))
        for block in np.array_split(x_ND, 7):
            reservoir.add(block)
        assert len(np.unique(reservoir.x_RD)) == 20
        taken[reservoir.x_RD[:, 0].astype(int)] += 1
    assert taken.std() == pytest.approx(np.sqrt(1000 * 0.1 * 0.9), rel=0.2)  # binomial: 9.5


def test_weights_are_chances_and_weight_0_is_never_taken():
    x_ND = np.arange(4, dtype=np.float32)[:, None]
    first = []
    for seed in range(4000):
        reservoir = Reservoir(1, 1, np.random.default_rng(seed))
        reservoir.add(x_ND, np.array([0.0, 1.0, 2.0, 1.0]))
        first.append(int(reservoir.x_RD[0, 0]))
    shares = np.bincount(first, minlength=4) / len(first)
    assert shares[0] == 0
    assert np.abs(shares - [0, 0.25, 0.5, 0.25]).max() < 0.03


def test_padded_says_what_is_kept():
    reservoir = Reservoir(5, 2, np.random.default_rng(0))
    reservoir.add(np.ones((3, 2), np.float32))
    keys, x_RD = reservoir.padded()
    assert np.isfinite(keys).sum() == 3
    assert x_RD.shape == (5, 2)
