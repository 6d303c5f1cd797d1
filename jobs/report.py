"""report: a work folder -> report.html, one page that holds its pictures and asks nothing of a network."""

import csv
import html
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts import leaderboard
from audio_tokens.jobs.command import command

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --accent: #c2410c; }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); max-width: 76rem; margin: 3rem auto; }
body { padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; } p { max-width: 46rem; }
.soft { color: var(--soft); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; font-size: .9rem; }
th, td { text-align: right; padding: .38rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th { color: var(--soft); font-weight: 600; } tr.best td { color: var(--accent); font-weight: 600; }
img { max-width: 100%; height: auto; margin: .4rem 0; display: block; }
"""

TABLE = {
    "system": "system",
    "recipe": "recipe",
    "seed": "seed",
    "mAP": "mAP %",
    "mAUC": "mAUC %",
    "dprime": "d&prime;",
    "accuracy": "accuracy %",
    "peak_val_mAP": "peak val mAP %",
    "clips_train": "clips (train)",
    "clips_eval": "clips (eval)",
    "parameters": "parameters",
    "seconds": "seconds",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """A work folder -> report.html, one page that asks nothing of a network.

    Args:
        work: the work folder of `run` or `demo`
    """

    work: str


def report(job: Report) -> int:
    """Write `report.html` into the work folder; its figures are those of the runs that lie there."""
    from audio_tokens.shards.publish import publish_bytes, target_lock

    work = Path(job.work)
    if not work.is_dir():
        raise UserError(f"work folder {job.work!r} does not exist; `audio-tokens run --work {job.work}` makes it")
    rows = leaderboard.collect(work)
    if not rows:
        raise UserError(
            f"work folder {job.work!r} holds no finished run; `audio-tokens run --work {job.work}` makes some"
        )
    with target_lock(work / "report.html", wait_s=leaderboard.WAIT_S):
        page = "\n".join(_page(work, rows))
        publish_bytes(work / "report.html", page.encode())
    return 0


def _page(work: Path, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>audio-tokens: {html.escape(work.name)}</title>"
    yield f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{STYLE}</style>"
    yield f"<h1>audio-tokens: {html.escape(work.name)}</h1>"
    yield from _dataset(work / "shards")
    yield "<h2>Leaderboard</h2>"
    yield from _leaderboard(rows)
    runs = _first_runs(work)
    yield "<h2>Learning curves</h2>"
    yield "<p class=soft>Validation mAP after each epoch; checkpoints are chosen on it, never on the test clips.</p>"
    yield from _learning_curves(runs)
    yield "<h2>Average precision per class</h2>"
    yield "<p class=soft>On the test clips; classes from the most to the least frequent.</p>"
    yield from _class_bars(runs)
    codebook = next(iter(sorted(work.glob("*/codebook")) + sorted(work.glob("*/fold-*/codebook"))), None)
    if codebook is not None:
        yield from _tokens(work / "shards", codebook)
    yield "</html>"


def _dataset(shards: Path) -> Iterator[str]:
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset = Dataset.open(shards)
    clips = {place: sum(s.clips for s in dataset.shards if s.place == place) for place in dataset.places}
    words = ", ".join(f"{place} {count:,}" for place, count in clips.items())
    yield f"<p class=soft>{sum(clips.values()):,} clips ({html.escape(words)}), {len(dataset.labels)} classes.</p>"


def _leaderboard(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "<div class=scroll><table><tr>" + "".join(f"<th>{title}</th>" for title in TABLE.values()) + "</tr>"
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{_cell(name, row[name])}</td>" for name in TABLE)
        yield f"<tr{' class=best' if index == 0 else ''}>{cells}</tr>"
    yield "</table></div>"
    folds = len(rows[0]["folds"])
    if folds:
        yield f"<p class=soft>Means over {folds} folds, each tested once by models fitted on the others.</p>"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "&ndash;"
    if TABLE[name].endswith("%"):
        return f"{100 * value:.1f}"
    if isinstance(value, float):
        return f"{value:.2f}" if name == "dprime" else f"{value:,.0f}"
    return html.escape(f"{value:,}" if isinstance(value, int) and name != "seed" else str(value))


def _first_runs(work: Path) -> dict[str, Path]:
    """Return one finished run a system (the first seed and fold): the pictures show one, the table shows all."""
    runs: dict[str, Path] = {}
    for file in sorted(work.glob("*/*/result.json")) + sorted(work.glob("*/fold-*/*/result.json")):
        runs.setdefault(file.parent.name, file.parent)
    return runs


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():  # token-bag is solved at once: it has no epochs
        return []
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _learning_curves(runs: dict[str, Path]) -> Iterator[str]:
    from audio_tokens.jobs.display.pictures import colours_of, learning_curves, png_base64

    for column, label in (("val_mAP", "validation mAP"), ("train_loss", "training loss")):
        curves = {
            name: [(float(r["epoch"]), float(r[column])) for r in _rows(run / "metrics.csv") if r.get(column)]
            for name, run in runs.items()
        }
        figure = learning_curves(
            {name: points for name, points in curves.items() if len(points) > 1}, label, colours_of(runs)
        )
        yield f"<img alt='{label} by epoch' src='{png_base64(figure)}'>"


def _class_bars(runs: dict[str, Path]) -> Iterator[str]:
    from audio_tokens.jobs.display.pictures import class_bars, colours_of, png_base64

    ap: dict[str, dict[str, float]] = {}
    positives: dict[str, int] = {}
    for name, run in runs.items():
        for row in _rows(run / "per_class.csv"):
            if row["split"] not in ("val", "inner-val") and row["ap"]:
                ap.setdefault(name, {})[row["label"]] = float(row["ap"])
                positives[row["label"]] = int(row["positives"])
    classes = sorted(positives, key=lambda label: (-positives[label], label))
    if len(classes) > 60:
        yield f"<p class=soft>The 60 most frequent of {len(classes)} classes; per_class.csv of each run has all.</p>"
    yield f"<img alt='average precision per class' src='{png_base64(class_bars(ap, classes[:60], colours_of(runs)))}'>"


def _tokens(shards: Path, codebook_folder: Path) -> Iterator[str]:
    import numpy as np

    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.jobs.display.pictures import centroid_patches, mel_over_decoded, png_base64, rank_frequency
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset, tokenizer = Dataset.open(shards), AudioTokenizer.from_pretrained(codebook_folder)
    book = tokenizer.codebook
    sample = dataset.sample(0, 0)
    mel_TF = sample.array_TF.astype(np.float32)
    decoded_TF = tokenizer.decode(tokenizer.encode_mel(mel_TF))[: len(mel_TF)]
    names = ", ".join(dataset.labels[i] for i in sample.meta["labels"])
    yield "<h2>What the tokens sound like</h2>"
    yield "<p class=soft>A clip's mel, and the mel that its tokens alone give back.</p>"
    picture = mel_over_decoded(mel_TF, decoded_TF, names or sample.key, sample.meta["seconds"] / len(mel_TF))
    yield f"<img alt='mel and decoded mel' src='{png_base64(picture)}'>"
    yield "<h2>Centroids and their use</h2>"
    for index, (stream, context) in enumerate(zip(book.streams, book.slices.contexts, strict=True), start=1):
        patches_KTF = stream.patches_KM.reshape(len(stream.patches_KM), context, -1)
        title = f"stream {index}"
        yield f"<img alt='rank and frequency' src='{png_base64(rank_frequency(stream.usage_K, title))}'>"
        picture = centroid_patches(patches_KTF, stream.usage_K, f"{title}: the most used tokens by centre frequency")
        yield f"<img alt='centroids as mel patches' src='{png_base64(picture)}'>"


def main(argv: Sequence[str] | None = None) -> int:
    return command(Report, report, argv)


if __name__ == "__main__":
    sys.exit(main())
