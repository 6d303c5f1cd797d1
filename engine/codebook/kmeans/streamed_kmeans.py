"""Streamed k-means, spherical or Euclidean: a drawn start, mini-batches, then exact Lloyd passes.

The data are met through `Lanes` alone: blocks of float32 vectors.
"""

from collections.abc import Iterator
from dataclasses import replace

from audio_tokens.engine.codebook.kmeans.batches import batches
from audio_tokens.engine.codebook.kmeans.first_centroids import first_centroids
from audio_tokens.engine.codebook.kmeans.passes import exact_pass
from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem


def states(problem: Problem, state: KMeansState | None = None) -> Iterator[KMeansState]:
    """Yield the state after the start, every `checkpoint_batches` mini-batches and every pass, done at last.

    Goes on from `state` where one is given. Raises UserError where there are fewer vectors than centroids.
    """
    if state is None:
        state = first_centroids(problem)
        yield state
    while state.stage == "batches":
        if state.epoch == problem.config.batch_epochs:
            state = replace(state, stage="passes", epoch=0)
        else:
            for later in batches(problem, state):
                state = later
                yield state
    while state.stage == "passes":
        state = exact_pass(problem, state)
        yield state
