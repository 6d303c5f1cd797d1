"""The first centroids, drawn from a sample of the vectors.

S vectors of the sample, D dimensions, K centroids.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

from audio_tokens.engine.codebook.nearest.numpy_search import NumpyNearest
from audio_tokens.engine.codebook.nearest.protocol import Metric

ROUNDS = 32  # of k-means++: one vector a round would be exact and K times as many products
CHAIN = 20  # candidates of AFK-MC2 per centroid


def draw_random(
    x_SD: Float32[np.ndarray, "S D"], clusters: int, metric: Metric, rng: np.random.Generator
) -> Int64[np.ndarray, "K"]:
    """Return K different vectors, each as likely."""
    return rng.choice(len(x_SD), clusters, replace=False)


def draw_plus_plus(
    x_SD: Float32[np.ndarray, "S D"], clusters: int, metric: Metric, rng: np.random.Generator
) -> Int64[np.ndarray, "K"]:
    """k-means++ in rounds: each draws some centroids in proportion to how badly the vectors are served so far.

    Arthur & Vassilvitskii 2007; drawing many a round is k-means|| (Bahmani et al. 2012). In all it costs as much as
    finding the nearest of K centroids once for the sample.
    """
    chosen = [int(rng.integers(len(x_SD)))]
    far_S = NumpyNearest(x_SD[chosen], metric)(x_SD)[1].astype(np.float64)
    while len(chosen) < clusters:
        far_S[chosen] = 0  # a rounding error away from 0 is still chosen
        wanted = min(clusters - len(chosen), -(-clusters // ROUNDS))
        served_badly = np.flatnonzero(far_S)
        if len(served_badly) < wanted:  # fewer different vectors than centroids: equal ones must do
            rest = np.setdiff1d(np.arange(len(x_SD)), chosen)
            return np.array(chosen + list(rng.choice(rest, clusters - len(chosen), replace=False)), np.int64)
        fresh = rng.choice(len(x_SD), wanted, replace=False, p=far_S / far_S.sum())
        far_S = np.minimum(far_S, NumpyNearest(x_SD[fresh], metric)(x_SD)[1])
        chosen.extend(map(int, fresh))
    return np.array(chosen, np.int64)


def draw_afk_mc2(
    x_SD: Float32[np.ndarray, "S D"], clusters: int, metric: Metric, rng: np.random.Generator
) -> Int64[np.ndarray, "K"]:
    """k-means++ by a Markov chain a centroid: Bachem et al., "Fast and provably good seedings for k-means", 2016."""
    chosen = [int(rng.integers(len(x_SD)))]
    far_S = NumpyNearest(x_SD[chosen], metric)(x_SD)[1].astype(np.float64)
    proposal_S = 0.5 * far_S / max(far_S.sum(), np.finfo(np.float64).tiny) + 0.5 / len(x_SD)
    proposal_S /= proposal_S.sum()
    for candidates in rng.choice(len(x_SD), (clusters - 1, CHAIN), p=proposal_S):
        far = NumpyNearest(x_SD[chosen], metric)(x_SD[candidates])[1].astype(np.float64)
        far[np.isin(candidates, chosen)] = 0
        state = 0
        for other in range(1, CHAIN):
            gain = far[other] * proposal_S[candidates[state]]
            if gain > rng.random() * far[state] * proposal_S[candidates[other]]:
                state = other
        pick = int(candidates[state])
        if far[state] == 0:  # the whole chain met chosen vectors only
            pick = int(rng.choice(np.setdiff1d(np.arange(len(x_SD)), chosen)))
        chosen.append(pick)
    return np.array(chosen, np.int64)


STARTS: dict[str, Callable[[np.ndarray, int, Metric, np.random.Generator], np.ndarray]] = {
    "random": draw_random,
    "k-means++": draw_plus_plus,
    "afk-mc2": draw_afk_mc2,
}
