"""cross-validate: one system on every fold of some shards, everything fitted afresh for each."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio_tokens.engine.ranges import Count, Natural, check
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.recipe import Recipe
from audio_tokens.jobs.training_recipe import trainable


@dataclass(frozen=True, kw_only=True)
class CrossValidate:
    """Test every fold of some shards once, each with a codebook and a system fitted on the others.

    Args:
        shards: the folder of mel shards, built from a source with folds
        system: the system's name, e.g. token-bert
        work: the folder for codebooks, tokens and runs
        recipe: a packaged recipe's name or a YAML file
        seed: of every draw
        replicates: bootstrap samples for the 95 % intervals
        force: replace artefacts that were made with another configuration
    """

    shards: str
    system: str
    work: str
    recipe: Recipe = field(default_factory=Recipe)
    seed: Natural = 0
    replicates: Count = 1000
    force: bool = False

    def __post_init__(self) -> None:
        check(self)
        trainable(self.system).by(self.recipe)


def cross_validate(request: CrossValidate) -> None:
    """Train and test fold by fold, then print the figures of all tested clips with their intervals."""
    from audio_tokens.engine.scores.bootstrap import interval
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder
    from audio_tokens.jobs.run import Run, train_all
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset = Dataset.open(request.shards)
    if not dataset.folds:
        raise UserError(
            f"{request.shards} has the splits {', '.join(dataset.places)} and no folds; `audio-tokens train` it"
        )
    base = Path(request.work) / f"{request.recipe.name}-{request.seed}"
    run = Run(
        source="", work=request.work, recipe=request.recipe, systems=(request.system,), folds=True, force=request.force
    )
    folds = [int(place.removeprefix("fold-")) for place in dataset.places]
    for fold in folds:
        train_all(run, Path(request.shards), base / f"fold-{fold}", request.seed, fold)
    tested = Predictions.joined([RunFolder(base / f"fold-{fold}" / request.system).predictions() for fold in folds])
    figures = score(tested.scores_CL, tested.targets_CL)
    print(f"{request.system}, {len(folds)} folds, {len(tested.keys)} clips")
    for name, again_R in tested.replicates(request.replicates).items():
        low, high = interval(again_R)
        print(f"{name:<9}{100 * getattr(figures, name):5.1f} %  [{100 * low:.1f}, {100 * high:.1f}]")


def main(argv: Sequence[str] | None = None) -> int:
    return command(CrossValidate, cross_validate, argv)


if __name__ == "__main__":
    sys.exit(main())
