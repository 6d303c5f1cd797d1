"""A run's folder: what was asked for, how far it came, and the result that says it is complete."""

import csv
import io
import json
import math
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from jaxtyping import Bool, Float32

from audio_tokens.engine.scores.metrics import Scores
from audio_tokens.errors import UserError
from audio_tokens.shards.publish import publish_bytes, published_file, published_folder

if TYPE_CHECKING:
    from accelerate import Accelerator

    from audio_tokens.engine.training.run_context import Progress

# All that a run may leave in its folder (trackers write into audio-tokens/), the two that say what it is at last.
WRITTEN = (
    *("metrics*.csv", "refit*.csv", "per_class.csv", "predictions.npz", "evaluation-*.json", "model", "checkpoints"),
    *("audio-tokens", "result.json", "config.yaml"),
)
DIAGNOSTICS = ("gradient_norm", "update_ratio", "nonfinite_share")  # of every layer, for the tracker


@dataclass(frozen=True)
class RunFolder:
    """`result.json` is written last and is the commit point; checkpoints belong to the configuration beside them."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def begin(self, settings: dict[str, Any], force: bool) -> bool:
        """Make the folder that of a run with `settings` (its fingerprint among them); return False for a complete one.

        A run of the same settings is resumed. Raises UserError where one of others lies there, unless `force` replaces
        it; a finished one is then kept in `replaced/` until `finish`.
        """
        if self.path.exists() and not force:
            found = self.settings()["fingerprint"] if (self.path / "config.yaml").is_file() else None
            if found != settings["fingerprint"]:
                what = "a run made with other settings or from other data" if found else "something that is no run"
                raise UserError(f"{self.path} holds {what}; --force replaces it, or choose another --out")
            return not (self.path / "result.json").is_file()
        self._set_aside()
        publish_bytes(self.path / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
        return True

    def _set_aside(self) -> None:
        """Clear the way: a finished run moves to `replaced/`, a part of one is worth less than what lies there.

        Touches what runs write, and nothing in a folder that holds no run.
        """
        if not (self.path / "config.yaml").is_file() or "fingerprint" not in self.settings():
            return
        replaced, finished = self.path / "replaced", (self.path / "result.json").is_file()
        for entry in [found for pattern in WRITTEN for found in sorted(self.path.glob(pattern))]:
            old = replaced / entry.name if finished else entry
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
            if finished:
                replaced.mkdir(exist_ok=True)
                entry.rename(old)

    def settings(self) -> dict[str, Any]:
        """Return config.yaml. Raises UserError where there is none."""
        file = self.path / "config.yaml"
        if not file.is_file():
            raise UserError(f"{self.path} holds no run (config.yaml is missing); `audio-tokens train` makes one")
        return yaml.safe_load(file.read_text())

    def write_rows(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Write a CSV file of rows that share their columns; a cell without a value is empty."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        publish_bytes(self.path / name, text.getvalue().encode())

    def curves(self, accelerator: "Accelerator") -> "Callable[[str, Progress], None]":
        """Return what publishes a training's epochs and gradients as CSV files and sends the last to the tracker."""

        def publish(phase: str, progress: "Progress") -> None:
            name = "refit" if phase == "refit" else "metrics"
            self.write_rows(f"{name}.csv", progress.rows)
            self.write_rows(f"{name}-gradients.csv", progress.gradients)
            values = {f"{name}/{key}": v for key, v in progress.rows[-1].items() if isinstance(v, float)}
            for row in progress.gradients:
                if row["epoch"] == len(progress.rows):
                    values |= {f"{name}-{key}/{row['layer']}": row[key] for key in DIAGNOSTICS}
                    if row["flag"]:
                        values[f"{name}-{row['flag']}/{row['layer']}"] = 1.0
                        print(f"train: warning: {row['flag']} gradient in {row['layer']}", file=sys.stderr)
            accelerator.log(values, progress.step)

        return publish

    def write_classes(self, labels: Sequence[str], figures: dict[str, Scores]) -> None:
        """Write per_class.csv: the average precision of every label on every split of `figures`."""
        self.write_rows(
            "per_class.csv",
            [
                {"split": split, "label": label, "positives": int(positives), "ap": float(ap)}
                for split, scores in figures.items()
                for label, positives, ap in zip(labels, scores.positives_L, scores.ap_L, strict=True)
            ],
        )

    def write_model(self, model: Any) -> None:
        """Publish the model in the Hugging Face form."""
        from audio_tokens.engine.systems.registry import save

        with published_folder(self.path / "model") as folder:
            save(model, folder)

    def write_predictions(self, predictions: "Predictions") -> None:
        """Publish the scores of the tested clips, which `compare` reads."""
        with published_file(self.path / "predictions.npz") as path, path.open("wb") as file:
            np.savez_compressed(
                file,
                keys=np.array(predictions.keys),
                labels=np.array(predictions.labels),
                scores=predictions.scores_CL,
                targets=predictions.targets_CL,
            )

    def predictions(self) -> "Predictions":
        """Return the scores of the tested clips. Raises UserError where the run is not complete."""
        file = self.path / "predictions.npz"
        if not file.is_file():
            raise UserError(f"{self.path} holds no finished run (no predictions.npz); `audio-tokens train` makes one")
        with np.load(file, allow_pickle=False) as found:
            return Predictions(
                keys=found["keys"].tolist(),
                labels=found["labels"].tolist(),
                scores_CL=found["scores"],
                targets_CL=found["targets"],
            )

    def finish(self, result: dict[str, Any]) -> None:
        """Commit the run; the one it replaces is let go."""
        publish_bytes(self.path / "result.json", (json.dumps(result, indent=1) + "\n").encode())
        shutil.rmtree(self.path / "replaced", ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a system said of the clips it was tested on, and what is true. Axes: C clips, L labels."""

    keys: list[str]
    labels: list[str]
    scores_CL: Float32[np.ndarray, "C L"]
    targets_CL: Bool[np.ndarray, "C L"]

    @classmethod
    def joined(cls, parts: "Sequence[Predictions]") -> "Predictions":
        """Return the predictions of several folds as one. Raises UserError where their labels or clips do not fit."""
        keys = [key for part in parts for key in part.keys]
        if any(part.labels != parts[0].labels for part in parts):
            raise UserError("the runs tag other labels; compare runs on the same data")
        if len(set(keys)) < len(keys):
            raise UserError("the runs were tested on the same clips; join runs of different folds")
        return cls(
            keys=keys,
            labels=parts[0].labels,
            scores_CL=np.concatenate([part.scores_CL for part in parts]),
            targets_CL=np.concatenate([part.targets_CL for part in parts]),
        )

    def in_order_of(self, other: "Predictions") -> "Predictions":
        """Return the same clips in the order of `other`. Raises UserError where they are not the same."""
        if sorted(self.keys) != sorted(other.keys) or self.labels != other.labels:
            raise UserError("the two runs were tested on other clips or labels; compare runs on the same data")
        row_of = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([row_of[key] for key in other.keys])
        return replace(self, keys=other.keys, scores_CL=self.scores_CL[rows], targets_CL=self.targets_CL[rows])


def figures_of(scores: Scores) -> dict[str, float | None]:
    """Return the means of `scores` as JSON holds them: what is not a finite number is null."""
    named = {"mAP": scores.mAP, "mAUC": scores.mAUC, "dprime": scores.dprime, "accuracy": scores.accuracy}
    return {name: value if value is not None and math.isfinite(value) else None for name, value in named.items()}


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield whether SIGTERM has arrived; while the context lasts it only raises this flag."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may catch signals
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
