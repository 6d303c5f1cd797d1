"""A small data set and what is made of it, for tests of the jobs between mel and tokens."""

import dataclasses
from pathlib import Path

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.jobs.build import Build, build
from audio_tokens.jobs.cluster import Cluster, cluster
from audio_tokens.jobs.recipe import Recipe

RECIPE = Recipe(slices=SliceConfig(), kmeans=KMeansConfig(clusters=(20,), chunk_vectors=64))


def toy_shards(folder: Path, clips: int = 60, clip_s: float = 1.0, **options) -> str:
    """Build so many soundscapes; return the folder of their shards."""
    build(Build(source=f"soundscapes:{clips},clip_s={clip_s:g}", out=str(folder / "shards"), workers=1, **options))
    return str(folder / "shards")


def recipe(**changes) -> Recipe:
    """The toy recipe with other k-means settings."""
    return dataclasses.replace(RECIPE, kmeans=dataclasses.replace(RECIPE.kmeans, **changes))


def toy_codebook(shards: str, out: Path, **options) -> str:
    """Fit a codebook of 20 tokens; return its folder."""
    cluster(Cluster(**{"shards": shards, "out": str(out), "recipe": RECIPE} | options))
    return str(out)
