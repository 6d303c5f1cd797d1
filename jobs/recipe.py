"""A recipe: how sound becomes tokens and how the systems are trained on them, as one small YAML."""

from dataclasses import dataclass, field
from typing import Any

from audio_tokens.engine.codebook.kmeans.streamed_kmeans import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.view_config import ViewConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything between mel shards and a trained system.

    Args:
        name: the folder of its artefacts begins with it; `--recipe X` sets it to X's own name
        slices: from mel frames to the vectors that are clustered
        kmeans: from vectors to centroids
        views: views of every clip to be stored with its tokens, {count: 5} say; none unless asked for
        top: nearest tokens stored for every position, which systems with {soft: true} take by their shares
        train: laid over every system's own training options (engine/train_config.py), e.g. {epochs: 30}
        systems: laid over one system's, e.g. {token-bert: {learning_rate: 3e-4}}
    """

    name: str = "default"
    slices: SliceConfig = field(default_factory=SliceConfig)
    kmeans: KMeansConfig = field(default_factory=KMeansConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    top: int = 1
    train: dict[str, Any] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)
