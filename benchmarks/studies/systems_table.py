"""Systems of work folders in a table, seeds averaged: `python -m benchmarks.studies.systems_table WORK [WORK ...]`.

The folders are those of `audio-tokens run`, of one seed or several; of folds, every clip was tested by a system fitted
on the other folds. Intervals (95 %) and p: bootstrap over recordings (or speakers) and over seeds. "Over the bag" is
paired: token-bag by the same recipe, on the same clips, tokens and seeds. C clips, R replicates.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from audio_tokens.engine.scores.bootstrap import difference, interval, over_seeds
from audio_tokens.engine.scores.metrics import Scores, score
from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder

BAG = "token-bag"
REPLICATES = 10_000
TITLES = (
    "system",
    "recipe",
    "accuracy % [95 %]",
    "by seed",
    "by fold",
    "mAP % [95 %]",
    "over the bag, points [95 %], p",
)


class Tested:
    """A system by a recipe on all clips: a figure per seed, per fold, and replicates of the mean over seeds."""

    def __init__(self, folds_of_seed: dict[int, Sequence[Predictions]]) -> None:
        together = [Predictions.joined(folds) for folds in folds_of_seed.values()]
        seeds = [tested.in_order_of(together[0]) for tested in together]
        scores = [score(tested.scores_CL, tested.targets_CL) for tested in seeds]
        self.by_seed = {seed: _accuracy(figures) for seed, figures in zip(folds_of_seed, scores, strict=True)}
        self.by_fold = np.mean(
            [[_accuracy(score(fold.scores_CL, fold.targets_CL)) for fold in folds] for folds in folds_of_seed.values()],
            axis=0,
        )
        again = [tested.replicates(REPLICATES) for tested in seeds]
        self.mean = {name: float(np.mean([getattr(figures, name) for figures in scores])) for name in again[0]}
        self.mean_R = {name: over_seeds(np.array([figures[name] for figures in again])) for name in again[0]}

    def cell(self, name: str) -> str:
        return f"{100 * self.mean[name]:.1f} {_bounds(*interval(self.mean_R[name]))}"


def gather(works: Sequence[Path]) -> dict[tuple[str, str], Tested]:
    """Return what was tested, by (recipe, system). Raises UserError where a run is not complete."""
    runs: dict[tuple[str, str], dict[int, Sequence[Predictions]]] = {}
    for base in sorted(base for work in works for base in work.glob("*-*")):
        folds = sorted(base.glob("fold-*"), key=lambda fold: int(fold.name.removeprefix("fold-"))) or [base]
        for system in sorted(result.parent.name for result in folds[0].glob("*/result.json")):
            recipe, _, seed = base.name.rpartition("-")
            parts = [RunFolder(fold / system).predictions() for fold in folds]
            runs.setdefault((recipe, system), {})[int(seed)] = parts
    return {key: Tested(folds_of_seed) for key, folds_of_seed in runs.items()}


def rows(found: dict[tuple[str, str], Tested]) -> list[tuple[str, ...]]:
    """Return the table's rows, the most accurate system first."""
    table: list[tuple[str, ...]] = []
    for (recipe, system), tested in sorted(found.items(), key=lambda item: -item[1].mean["accuracy"]):
        bag = None if system == BAG else found.get((recipe, BAG))
        table.append(
            (
                f"`{system}`",
                recipe,
                tested.cell("accuracy"),
                _listed(tested.by_seed.values()),
                _listed(tested.by_fold),
                tested.cell("mAP"),
                "" if bag is None or bag.by_seed.keys() != tested.by_seed.keys() else _over(bag, tested),
            )
        )
    return table


def _over(bag: Tested, tested: Tested) -> str:
    value = tested.mean["accuracy"] - bag.mean["accuracy"]
    found = difference(bag.mean_R["accuracy"], tested.mean_R["accuracy"], value)
    return f"{100 * value:+.2f} {_bounds(found.low, found.high, '+.1f')}, p {found.p:.3f}"


def _bounds(low: float, high: float, form: str = ".1f") -> str:
    return f"[{100 * low:{form}}, {100 * high:{form}}]"


def _listed(values: Iterable[float]) -> str:
    return " ".join(f"{100 * value:.1f}" for value in values)


def _accuracy(figures: Scores) -> float:
    if figures.accuracy is None:
        raise SystemExit("clips with several labels have no accuracy; the table is for those with one")
    return figures.accuracy


def main(argv: Sequence[str]) -> int:
    table = rows(gather([Path(work) for work in argv]))
    if not table:
        print(
            "usage: python -m benchmarks.studies.systems_table WORK [WORK ...], folders of `run`",
            file=sys.stderr,
        )
        return 2
    for line in (TITLES, ("---",) * len(TITLES), *table):
        print(f"| {' | '.join(line)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
