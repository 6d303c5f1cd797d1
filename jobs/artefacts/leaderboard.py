"""The leaderboard of a work folder: one row per system, recipe and seed, gathered from the runs that lie in it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audio_tokens.jobs.artefacts.predictions import Predictions
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.shards.publish import publish_bytes, target_lock

WAIT_S = 60.0  # another run in the same work folder may just be gathering
FIGURES = ("mAP", "mAUC", "dprime", "accuracy", "peak_val_mAP")


def collect(work: Path) -> list[dict[str, Any]]:
    """Return the rows of every finished run under `work`, best mAP first.

    With folds the figures are means over folds, `clips_eval` and `seconds` are sums (every clip is tested once),
    `clips_train` is the mean, and `folds` lists what each fold gave; without folds `folds` is empty. `mAP_pooled` is
    that of the clips of all folds ranked together, which is another figure: scores of differently fitted models are
    compared in it. It is null without folds.
    `notes` say what a figure is to be taken with: a leak, or an epoch chosen on the very clips that are tested.
    Fractions lie in 0..1; a d-prime that is infinite (mAUC 1) is null, as JSON has no word for it.
    """
    groups: dict[tuple[str, str, int], list[tuple[Path, dict[str, Any]]]] = {}
    for recipe, path, result in finished_runs(work):
        groups.setdefault((result["system"], recipe, result["seed"]), []).append((path, result))
    rows = [
        _row(*key, [result for _, result in runs]) | {"mAP_pooled": _pooled([path for path, _ in runs])}
        for key, runs in groups.items()
    ]
    return sorted(rows, key=lambda row: (-(row["mAP"] or 0), row["system"], row["recipe"], row["seed"]))


def finished_runs(work: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Yield recipe, folder and result of every finished run that tags; a pre-training tags nothing."""
    for file in sorted(work.glob("*/*/result.json")) + sorted(work.glob("*/fold-*/*/result.json")):
        result = RunFolder(file.parent).result()
        if "system" in result:
            yield file.relative_to(work).parts[0].rpartition("-")[0], file.parent, result


def publish(work: Path) -> list[dict[str, Any]]:
    """Write `leaderboard.json` from what `work` holds and return its rows."""
    with target_lock(work / "leaderboard.json", wait_s=WAIT_S):
        rows = collect(work)
        publish_bytes(work / "leaderboard.json", (json.dumps(rows, indent=1) + "\n").encode())
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text for a terminal, figures in per cent."""
    folds = any(row["folds"] for row in rows)
    titles = [
        "system",
        "recipe",
        "seed",
        "mAP %",
        *(["pooled mAP %"] if folds else []),
        "mAUC %",
        "d'",
        "accuracy %",
        "peak val mAP %",
        "parameters",
        "s",
        "notes",
    ]
    cells = [
        [
            row["system"],
            row["recipe"],
            str(row["seed"]),
            _percent(row["mAP"]),
            *([_percent(row["mAP_pooled"])] if folds else []),
            _percent(row["mAUC"]),
            "-" if row["dprime"] is None else f"{row['dprime']:.2f}",
            _percent(row["accuracy"]),
            _percent(row["peak_val_mAP"]),
            f"{row['parameters']:,}",
            f"{row['seconds']:.0f}",
            "; ".join(row["notes"]),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 or i == len(titles) - 1 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in [titles, ["-" * w for w in widths], *cells]
    ]
    return "\n".join(line.rstrip() for line in lines)


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def _row(system: str, recipe: str, seed: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "system": system,
        "recipe": recipe,
        "seed": seed,
        "clips_train": round(sum(r["clips_train"] for r in results) / len(results)),
        "clips_eval": sum(r["clips_eval"] for r in results),
        **{name: _mean([r[name] for r in results]) for name in FIGURES},
        "parameters": max(r["parameters"] for r in results),
        "seconds": sum(r["seconds"] for r in results),
        "notes": sorted({note for result in results for note in _notes(result)}),
        "folds": [
            {"fold": r["test_fold"], "accuracy": r["accuracy"], "mAP": r["mAP"], "clips_eval": r["clips_eval"]}
            for r in sorted(results, key=lambda r: r["test_fold"] or 0)
            if r["test_fold"] is not None
        ],
    }


def _pooled(runs: Sequence[Path]) -> float | None:
    """Return the mAP over the clips of all folds together; None where there is one run."""
    if len(runs) == 1:
        return None
    from audio_tokens.engine.scores.metrics import score

    together = Predictions.joined([RunFolder(run).predictions() for run in runs])
    return score(together.scores_CL, together.targets_CL).mAP


def _notes(result: dict[str, Any]) -> list[str]:
    """Return what a figure is to be taken with; runs of before these were recorded say nothing."""
    chosen_on_tested = result.get("chosen_on") == result["eval_place"]
    leak = result.get("leak")
    return [f"leak: {leak}"] * bool(leak) + ["epoch chosen on the tested clips"] * chosen_on_tested


def _mean(values: list[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
