"""A recipe: how sound becomes tokens and how the systems are trained on them, as one small YAML."""

from dataclasses import dataclass, field
from typing import Any

from engine.kmeans import KMeansConfig
from engine.slices import SliceConfig
from engine.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything between mel shards and a trained system.

    Args:
        name: the folder of its artefacts begins with it; `--recipe X` sets it to X's own name
        slices: from mel frames to the vectors that are clustered
        kmeans: from vectors to centroids
        train: the training of every system
        systems: what one system trains otherwise, e.g. {token-bert: {learning_rate: 3e-4}}
    """

    name: str = "default"
    slices: SliceConfig = field(default_factory=SliceConfig)
    kmeans: KMeansConfig = field(default_factory=KMeansConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
