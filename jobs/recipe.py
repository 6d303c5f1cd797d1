"""A recipe: how sound becomes tokens and how the systems are trained on them, as one small YAML.

A command offers the parts that it reads; in a recipe's file the others are passed over.
"""

from dataclasses import dataclass, field

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.ranges import Count, check
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.jobs.training_recipe import TrainingRecipe


@dataclass(frozen=True, kw_only=True)
class CodebookRecipe:
    """From mel shards to a codebook; the views, from sound, only where `slices.whiten_by` says so.

    Args:
        name: the recipe's; `--recipe X` sets it to X's own name
        slices: from mel frames to the vectors that are clustered
        kmeans: from vectors to centroids
        views: of every clip, to be stored with its tokens, {count: 5} say, none unless asked for; `cluster` compares
            clips with one such view where slices.whiten_by is views
    """

    name: str = "default"
    slices: SliceConfig = field(default_factory=SliceConfig)
    kmeans: KMeansConfig = field(default_factory=KMeansConfig)
    views: ViewConfig = field(default_factory=ViewConfig)


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainingRecipe, CodebookRecipe):
    """Everything between mel shards and a trained system.

    Args:
        top: nearest tokens stored for every position, which systems with {soft: true} take by their shares
    """

    top: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, "recipe.")
