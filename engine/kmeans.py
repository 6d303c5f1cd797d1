"""Streamed k-means."""

from dataclasses import dataclass
from typing import Literal

from engine.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """From vectors to centroids.

    Args:
        clusters: centroids of each token stream, say [500] or [500, 200]
        metric: cosine (spherical k-means) or euclidean
        start: how the first centroids are drawn from a sample of the vectors: k-means++, afk-mc2 or random
        sample_per_centroid: vectors sampled for the start, per centroid
        batch_epochs: epochs of mini-batches before the exact passes
        chunk_vectors: vectors a lane adds to one mini-batch
        decay: share of a centroid's count kept from one mini-batch to the next; 1 forgets nothing
        passes: exact passes over the data, at most
        tolerance: passes end when the distortion falls by less than this share
        checkpoint_batches: mini-batches between checkpoints
        lanes: parts the data is read in; processes share them out, so results do not depend on their number
        block_clips: neighbouring clips read together by a lane
    """

    clusters: tuple[int, ...] = (500,)
    metric: Literal["cosine", "euclidean"] = "cosine"
    start: Literal["k-means++", "afk-mc2", "random"] = "k-means++"
    sample_per_centroid: int = 64
    batch_epochs: int = 1
    chunk_vectors: int = 512
    decay: float = 1.0
    passes: int = 20
    tolerance: float = 1e-3
    checkpoint_batches: int = 100
    lanes: int = 12
    block_clips: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "clusters", tuple(self.clusters))
        if not self.clusters or min(self.clusters) < 1 or max(self.clusters) > 65_000:
            raise EngineError(
                f"kmeans.clusters {list(self.clusters)}: 1 to 65,000 per stream (tokens are 16-bit numbers)"
            )
        for name in ("sample_per_centroid", "chunk_vectors", "passes", "checkpoint_batches", "lanes", "block_clips"):
            if getattr(self, name) < 1:
                raise EngineError(f"kmeans.{name} {getattr(self, name)}: must be at least 1")
        if self.batch_epochs < 0 or not 0 < self.decay <= 1 or self.tolerance < 0:
            raise EngineError(
                f"kmeans.batch_epochs {self.batch_epochs}, decay {self.decay}, tolerance {self.tolerance}: "
                "needs batch_epochs >= 0, decay in (0, 1], tolerance >= 0"
            )
