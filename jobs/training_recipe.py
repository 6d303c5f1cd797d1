"""The part of a recipe that says how systems are trained; light, since `train --help` reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from audio_tokens.engine.systems.options import PretrainOptions
from audio_tokens.engine.systems.registry import find
from audio_tokens.engine.train_config import StepConfig, TagConfig, TrainConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.typed import typed

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # of a recipe: its folder's begins with it
PARTS = ("name", "slices", "kmeans", "views", "top", "train", "systems")  # of a whole recipe (jobs/recipe.py)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """How systems are trained.

    Args:
        name: the folder of its artefacts begins with it; `--recipe X` sets it to X's own name
        train: for every system, as far as it has the option: {epochs: 30} say, or --recipe.train.epochs 30
        systems: for one system, over `train`: {token-bert: {learning_rate: 3e-4}} say
    """

    name: str = "default"
    train: dict[str, Any] = field(default_factory=dict)
    systems: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Type every value. Raises UserError for a system, an option or a value that does not exist."""
        check_name(self.name)
        train = typed(TrainConfig, self.train or {}, "recipe.train.")
        systems = {
            name: typed(find(name).options, values or {}, f"recipe.systems.{name}.", find(name).option_names)
            for name, values in (self.systems or {}).items()  # null, where a YAML names it and says no more
        }
        object.__setattr__(self, "train", train)
        object.__setattr__(self, "systems", systems)


def check_name(name: str) -> None:
    """Raise UserError for a recipe's name that is no folder's, or one of a folder elsewhere."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"recipe.name is {name!r:.60}; a folder is named by it: letters, digits, `_`, `-` and dots inside"
        )


@dataclass(frozen=True)
class Trainable:
    """What can be chosen about a system: the class that declares its options, and which of the names count."""

    system: str
    options: type[TagConfig] | type[StepConfig]
    names: tuple[str, ...]

    def laid_over(self, recipe: TrainingRecipe) -> dict[str, Any]:
        """Return what `recipe` says of these options, `systems` over `train`; what it says of others is no concern."""
        said = recipe.train | recipe.systems.get(self.system, {})
        return {name: value for name, value in said.items() if name in self.names}

    def by(self, recipe: TrainingRecipe, options: Mapping[str, Any] | None = None) -> Any:
        """Return the options by `recipe`, and over it `options`. Raises UserError for what does not exist."""
        given = typed(self.options, options or {}, "options.", self.names)
        return self.options(**(self.laid_over(recipe) | given))


def must_read(system: str, tokens: str | None, shards: str | None) -> None:
    """Raise UserError unless the system of that name is given just what it reads: tokens, mel shards or both."""
    reads, given = find(system).reads, {"tokens": tokens, "mel": shards}
    if [name for name, path in given.items() if path is not None] != list(reads):
        needed = {"tokens": "--tokens TOKENS.zarr", "mel": "--shards SHARDS"}
        wanted = " and ".join(needed[name] for name in reads)
        raise UserError(f"system {system} reads {' and '.join(reads)}; give it {wanted} alone")


def trainable(system: str | None) -> Trainable:
    """Return what can be chosen about the system of that name, or, where none is named, about the training of any.

    Raises UserError for an unknown system.
    """
    if system is None:
        return Trainable("", TrainConfig, tuple(field.name for field in fields(TrainConfig)))
    found = find(system)
    return Trainable(system, found.options, tuple(found.option_names))


PRETRAINABLE = Trainable("token-bert", PretrainOptions, tuple(field.name for field in fields(PretrainOptions)))
