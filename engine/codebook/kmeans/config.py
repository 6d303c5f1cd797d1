"""How k-means goes about it: the options of a recipe's `kmeans`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from audio_tokens.engine.ranges import Count, Natural, NotNegative, Range, check
from audio_tokens.errors import UserError

Clusters = Annotated[int, Range(1, 65_000)]  # tokens are 16-bit numbers


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """From vectors to centroids.

    Args:
        clusters: centroids of each token stream, say [500] or [500, 200]
        metric: cosine (spherical k-means) or euclidean
        start: how the first centroids are drawn from a sample of the vectors: k-means++, afk-mc2 or random
        sample_per_centroid: vectors sampled for the start, per centroid
        batch_epochs: epochs of mini-batches before the exact passes, at most
        chunk_vectors: vectors a lane adds to one mini-batch
        memory_vectors: a count is cut to this before a mini-batch, so that older vectors fade; 0 forgets nothing
        passes: exact passes over the data, at most
        tolerance: passes, and mini-batches, end when the distortion falls by less than this share
        budget_vectors: about so many vectors, of clips drawn at random, are what whitening and centroids are fitted to,
            in every reading of the data; 0 for all. How often each centroid is used is counted over all clips after it.
        checkpoint_batches: mini-batches between checkpoints
        lanes: parts the data is read in; processes share them out, so results do not depend on their number
        block_clips: neighbouring clips read together by a lane
    """

    clusters: tuple[Clusters, ...] = (500,)
    metric: Literal["cosine", "euclidean"] = "cosine"
    start: Literal["k-means++", "afk-mc2", "random"] = "k-means++"
    sample_per_centroid: Count = 64
    batch_epochs: Natural = 2
    chunk_vectors: Count = 96
    memory_vectors: Natural = 40
    passes: Count = 20
    tolerance: NotNegative = 3e-3
    budget_vectors: Natural = 4_000_000
    checkpoint_batches: Count = 100
    lanes: Count = 64
    block_clips: Count = 16

    def __post_init__(self) -> None:
        check(self, "kmeans.")
        if not self.clusters:
            raise UserError("kmeans.clusters is []; give a number of centroids per stream")
