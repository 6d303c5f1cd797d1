"""What the finished runs of a work folder say together: figures with intervals, labels, confusions, worst clips.

C clips, L labels, R bootstrap replicates.
"""

import csv
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from audio_tokens.engine.scores.bootstrap import difference, interval, over_seeds
from audio_tokens.engine.scores.metrics import Scores, score
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.leaderboard import FIGURES, finished_runs
from audio_tokens.jobs.artefacts.predictions import Predictions
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.display.report.facts import ClassRow, Confusion, Interval, Judged, Row

REPLICATES = 200
# Clips x labels up to which every label gets an interval: 200 replicates of 2,000,000 take half a minute.
MOST_CELLS = 2_000_000


@dataclass(frozen=True)
class FinishedRun:
    """A run as it lies in the work folder."""

    recipe: str
    path: Path
    result: dict[str, Any]

    @property
    def fold(self) -> int | None:
        return self.result["test_fold"]

    @cached_property
    def predictions(self) -> Predictions:
        return RunFolder(self.path).predictions()

    @cached_property
    def scores(self) -> Scores:
        return score(self.predictions.scores_CL, self.predictions.targets_CL)

    @cached_property
    def single_label(self) -> bool:
        return bool(json.loads((self.path / "model" / "config.json").read_text())["single_label"])

    def again(self, like: Predictions | None = None) -> dict[str, np.ndarray]:
        """Return bootstrap replicates of the figures, folds drawn apart; with `like`, on the clips in that order."""
        told = self.predictions if like is None else self.predictions.in_order_of(like)
        return told.replicates(REPLICATES, seed=self.fold or 0)


@dataclass(frozen=True)
class RunGroup:
    """All runs of one system and recipe: every seed, every fold."""

    system: str
    recipe: str
    runs: Sequence[FinishedRun]

    @property
    def name(self) -> str:
        return f"{self.system}, {self.recipe}"

    @property
    def seeds(self) -> list[int]:
        return sorted({run.result["seed"] for run in self.runs})

    @property
    def first_seed(self) -> list[FinishedRun]:
        """The runs of one seed: every tested clip once."""
        return [run for run in self.runs if run.result["seed"] == self.seeds[0]]

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure over all runs; none where a run does not have it."""
        values = [run.result[name] for run in self.runs]
        return None if None in values else float(np.mean(values))

    def again(self, like: "RunGroup | None" = None) -> dict[str, np.ndarray]:
        """Return replicates [R] of the means over the runs, their seeds drawn again as well.

        Raises UserError where `like` was tested on other clips.
        """
        order = {} if like is None else {run.fold: run.predictions for run in like.first_seed}
        if like is not None and set(order) != {run.fold for run in self.runs}:
            raise UserError(f"{self.name} and {like.name} were tested on other folds")
        found = [(run.result["seed"], run.again(order.get(run.fold))) for run in self.runs]
        common = set.intersection(*(set(figures) for _, figures in found))

        def by_seed(name: str) -> np.ndarray:
            return np.array([np.mean([f[name] for s, f in found if s == seed], axis=0) for seed in self.seeds])

        return {name: over_seeds(by_seed(name)) for name in sorted(common)}


def run_groups(work: Path) -> tuple[str, list[RunGroup]]:
    """Return the main figure (accuracy where every run has one, else mAP) and the groups, best first."""
    found: dict[tuple[str, str], list[FinishedRun]] = {}
    for recipe, path, result in finished_runs(work):
        found.setdefault((result["system"], recipe), []).append(FinishedRun(recipe, path, result))
    groups = [RunGroup(*key, sorted(runs, key=_seed_and_fold)) for key, runs in found.items()]
    main = "accuracy" if all(group.mean("accuracy") is not None for group in groups) else "mAP"
    return main, sorted(groups, key=lambda group: (-(group.mean(main) or 0.0), group.system, group.recipe))


def _seed_and_fold(run: FinishedRun) -> tuple[int, int]:
    return run.result["seed"], run.fold or 0


def leaderboard_rows(groups: Sequence[RunGroup], main: str) -> list[Row]:
    """Return a row a group; differences are to the first of them."""
    best = groups[0]
    of_best = best.again()
    return [_row(group, best, of_best, main) for group in groups]


def _row(group: RunGroup, best: RunGroup, of_best: dict[str, np.ndarray], main: str) -> Row:
    less: tuple[float, Interval, float] | None = None
    try:
        again = of_best if group is best else group.again(best)
        if group is not best:
            value = (best.mean(main) or 0.0) - (group.mean(main) or 0.0)
            found = difference(again[main], of_best[main], value)
            less = (found.value, (found.low, found.high), found.p)
    except UserError:  # tested on other clips or labels: nothing to pair
        again = group.again()
    folds = {run.fold for run in group.runs} - {None}
    results = [run.result for run in group.runs]
    return Row(
        system=group.system,
        recipe=group.recipe,
        seeds=group.seeds,
        folds=len(folds),
        clips_train=round(float(np.mean([result["clips_train"] for result in results]))),
        clips_eval=sum(run.result["clips_eval"] for run in group.first_seed),
        figures={name: group.mean(name) for name in FIGURES},
        intervals={name: interval(figures_R) for name, figures_R in again.items()},
        less=less,
        parameters=max(result["parameters"] for result in results),
        seconds=sum(result["seconds"] for result in results),
        parts=[(r["seed"], r["test_fold"], r["clips_eval"], r["mAP"], r["accuracy"]) for r in results],
    )


def chance(groups: Sequence[RunGroup]) -> float:
    """Return the mAP of scores that know nothing: the mean over labels of the share of clips that have them."""
    shares = [run.predictions.targets_CL.mean(axis=0) for run in groups[0].first_seed]
    return float(np.mean([np.mean(share_L[share_L > 0]) for share_L in shares]))


def class_rows(groups: Sequence[RunGroup]) -> list[ClassRow]:
    """Return every label of the best group's runs, the most frequent first; what others say of it beside it."""
    best = groups[0]
    labels = best.runs[0].predictions.labels
    ap: dict[str, dict[str, float]] = {label: {} for label in labels}
    for group in groups:
        told: dict[str, list[float]] = {}
        for run in group.runs:
            for label, value in zip(run.predictions.labels, run.scores.ap_L.tolist(), strict=True):
                if value == value:  # not a number where the label has no positive clip in that run
                    told.setdefault(label, []).append(value)
        for label in set(told) & set(labels):
            ap[label][group.name] = float(np.mean(told[label]))
    positives_L = np.sum([run.scores.positives_L for run in best.first_seed], axis=0)
    cells = sum(run.predictions.scores_CL.size for run in best.runs)
    rows = []
    for index in np.argsort(-positives_L, kind="stable").tolist():
        sure = _class_interval(best, index) if cells <= MOST_CELLS else None
        rows.append(
            ClassRow(label=labels[index], positives=int(positives_L[index]), ap=ap[labels[index]], interval=sure)
        )
    return rows


def _class_interval(group: RunGroup, label: int) -> Interval | None:
    """Return the interval of a label's mean average precision over the runs that have a positive clip."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a sample without a positive clip has no average precision
        for run in group.runs:
            if run.scores.positives_L[label]:
                one, told = slice(label, label + 1), run.predictions
                alone = replace(told, scores_CL=told.scores_CL[:, one], targets_CL=told.targets_CL[:, one])
                found.append(alone.replicates(REPLICATES, seed=run.fold or 0)["mAP"])
        return interval(np.nanmean(found, axis=0)) if found else None


def confusion(group: RunGroup) -> Confusion:
    """Return who is taken for whom by a group's first seed, over all folds."""
    told = Predictions.joined([run.predictions for run in group.first_seed])
    counts_LL = np.zeros((len(told.labels),) * 2, dtype=np.int64)
    for scores_L, targets_L in zip(told.scores_CL, told.targets_CL, strict=True):
        if targets_L.all():
            continue
        rival = int(np.where(targets_L, -np.inf, scores_L).argmax())
        for label in np.flatnonzero(targets_L):
            counts_LL[label, rival if scores_L[rival] > scores_L[label] else label] += 1
    return Confusion(name=group.name, labels=told.labels, counts_LL=counts_LL)


def judged(group: RunGroup) -> list[tuple[FinishedRun, Judged]]:
    """Return every tested clip of a group's first seed with the run that judged it, the highest loss first."""
    found = []
    for run in group.first_seed:
        told = run.predictions
        z_CL = told.scores_CL.astype(np.float64)
        if run.single_label:
            probabilities_CL = np.exp(z_CL)
            losses_C = -(z_CL * told.targets_CL).sum(axis=1)
        else:
            probabilities_CL = 1 / (1 + np.exp(-z_CL))
            losses_C = (np.logaddexp(0, z_CL) - z_CL * told.targets_CL).mean(axis=1)
        for clip, key in enumerate(told.keys):
            said = [
                (told.labels[i], float(probabilities_CL[clip, i]))
                for i in np.argsort(-probabilities_CL[clip], kind="stable")[:3]
            ]
            labels = [told.labels[i] for i in np.flatnonzero(told.targets_CL[clip])]
            found.append((run, Judged(key=key, labels=labels, said=said, loss=float(losses_C[clip]), sound=None)))
    return sorted(found, key=lambda pair: (-pair[1].loss, pair[1].key))


def learning_curves(groups: Sequence[RunGroup]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return {title: {group: [(epoch, value), ...]}} of the groups that have epochs, the first run of each."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for column, title in (("val_mAP", "validation mAP"), ("train_loss", "training loss")):
        for group in groups:
            points = [
                (float(row["epoch"]), float(row[column]))
                for row in _csv_rows(group.runs[0].path / "metrics.csv")
                if row.get(column)
            ]
            if len(points) > 1:
                curves.setdefault(title, {})[group.name] = points
    return curves


def _csv_rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():  # solved at once, without epochs
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))
