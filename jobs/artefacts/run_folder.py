"""A run's folder: what was asked for, how far it came, and the result that says it is complete."""

import csv
import hashlib
import io
import json
import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import yaml

from audio_tokens.engine.scores.metrics import Scores
from audio_tokens.errors import UserError, checked, damaged, json_of, masked
from audio_tokens.jobs.artefacts.predictions import Predictions
from audio_tokens.jobs.plain_yaml import plain_yaml
from audio_tokens.shards.integrity import INTEGRITY, FileEntry, seal
from audio_tokens.shards.publish import (
    publish_bytes,
    published_file,
    published_folder,
    sweep_below,
    target_lock,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

    from audio_tokens.engine.training.run_context import Progress
    from audio_tokens.jobs.artefacts.tracker import Log
    from audio_tokens.jobs.inputs.model_parts import ModelParts

# All that a run may leave in its folder (trackers write into audio-tokens/), the two that say what it is at last.
WRITTEN = (
    *("metrics*.csv", "refit*.csv", "per_class.csv", "predictions.npz", "evaluation-*.json", "model", "checkpoints"),
    *("audio-tokens", "result.json", INTEGRITY, "config.yaml"),
)
FORMAT = "audio-tokens-run"
# A word of any of these tells that a damaged config.yaml, or a manifest, is one of ours.
MARKS = (b"fingerprint: ", b"\nlearnt_from:", FORMAT.encode())
SETTINGS = {"fingerprint": str, "system": str, "seed": int, "train": dict, "data": str}
RESULT: dict[str, type | tuple[type, ...]] = {
    **{"system": str, "seed": int, "clips_train": int, "clips_eval": int, "parameters": int, "seconds": (float, int)},
    **dict.fromkeys(("mAP", "mAUC", "dprime", "accuracy", "peak_val_mAP"), (float, int, NoneType)),
    "test_fold": (int, NoneType),
}
DIAGNOSTICS = ("gradient_norm", "update_ratio", "nonfinite_share")  # of every layer, for the tracker


@dataclass(frozen=True)
class RunFolder:
    """`result.json` is written last and is the commit point; checkpoints belong to the configuration beside them.

    `made_from` are the ids of the artefacts that a training reads, by their role.
    """

    path: Path
    made_from: Mapping[str, str | None] = field(default_factory=dict)

    def lock(self, accelerator: "Accelerator") -> AbstractContextManager[None]:
        """Return the lock of the folder, which the main process takes for all; see target_lock."""
        return target_lock(self.path) if accelerator.is_main_process else nullcontext()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def begin(self, settings: dict[str, Any], force: bool) -> bool:
        """Make the folder that of a run with `settings` (its fingerprint among them); return False for a complete one.

        A run of the same settings is resumed. Raises UserError where one of others lies there, unless `force` replaces
        it; a finished one is then kept in `replaced/` until `finish`.
        """
        sweep_below(self.path)
        found = self._fingerprint()
        if found == settings["fingerprint"] and not force:
            if (self.path / "result.json").is_file():
                return False
        elif found is not None:
            if not force:
                raise UserError(
                    f"{self.path} holds a run made with other settings or from other data; --force replaces it, or "
                    "choose another --out"
                )
            self._set_aside()
        elif self.path.exists() and any(self.path.iterdir()):  # a kill may leave an empty one
            raise UserError(f"{self.path} holds something that is no run, and is left alone; choose another --out")
        publish_bytes(self.path / "config.yaml", yaml.safe_dump(settings, sort_keys=False).encode())
        return True

    def _set_aside(self) -> None:
        """Clear the way: a finished run moves to `replaced/`, a part of one is worth less than what lies there.

        Touches what runs write, and nothing else that lies beside it.
        """
        replaced, finished = self.path / "replaced", (self.path / "result.json").is_file()
        for entry in [found for pattern in WRITTEN for found in sorted(self.path.glob(pattern))]:
            old = replaced / entry.name if finished else entry
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
            if finished:
                replaced.mkdir(exist_ok=True)
                entry.rename(old)

    def _fingerprint(self) -> str | None:
        """Return that of the run which lies here, "" for one whose config.yaml is damaged, None where there is none."""
        try:
            return checked(plain_yaml((self.path / "config.yaml").read_bytes()), {"fingerprint": str})["fingerprint"]
        except (OSError, ValueError):
            marks = [self.path / name for name in ("config.yaml", INTEGRITY)]
            data = b"".join(mark.read_bytes() for mark in marks if mark.is_file())
            return "" if any(word in data for word in MARKS) else None

    def settings(self) -> dict[str, Any]:
        """Return config.yaml. Raises UserError where there is none, or a damaged one."""
        file = self.path / "config.yaml"
        if not file.is_file():
            raise UserError(f"{self.path} holds no run (config.yaml is missing); `audio-tokens train` makes one")
        try:
            return checked(plain_yaml(file.read_bytes()), SETTINGS)
        except ValueError as error:
            raise damaged(file, error) from None

    def write_rows(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Write a CSV file of rows that share their columns; a cell without a value is empty."""
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        publish_bytes(self.path / name, text.getvalue().encode())

    def write_curves(self, phase: str, progress: "Progress") -> None:
        """Publish a training's epochs and gradients as CSV files."""
        self.write_rows(f"{_curves_of(phase)}.csv", progress.rows)
        self.write_rows(f"{_curves_of(phase)}-gradients.csv", progress.gradients)

    def curves(self, log: "Log") -> "Callable[[str, Progress, int], None]":
        """Return what publishes a training's epochs and gradients and sends the last to `log`."""

        def publish(phase: str, progress: "Progress", last_epoch: int) -> None:
            name = _curves_of(phase)
            self.write_curves(phase, progress)
            values = {f"{name}/{key}": v for key, v in progress.rows[-1].items() if isinstance(v, float)}
            for row in progress.gradients:
                if row["epoch"] == len(progress.rows):
                    values |= {f"{name}-{key}/{row['layer']}": row[key] for key in DIAGNOSTICS}
                    if row["flag"]:
                        values[f"{name}-{row['flag']}/{row['layer']}"] = 1.0
                        print(f"train: warning: {row['flag']} gradient in {row['layer']}", file=sys.stderr)
            log(values, progress.step)

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

    def write_model(self, model: Any, parts: "ModelParts | None" = None, card: str | None = None) -> None:
        """Publish the model in the Hugging Face form, with what it needs to tag sound and a card, if any."""
        from audio_tokens.engine.systems.tagging.model_folder import save_model

        with published_folder(self.path / "model") as folder:
            save_model(model, folder, *(parts or (None, None)))
            if card is not None:
                (folder / "README.md").write_text(card)

    def write_predictions(self, predictions: Predictions) -> None:
        """Publish the scores of the tested clips, which `compare` reads."""
        with published_file(self.path / "predictions.npz") as path:
            predictions.save(path)

    def predictions(self) -> Predictions:
        """Return the scores of the tested clips. Raises UserError where there are none, or damaged ones."""
        file = self.path / "predictions.npz"
        if not file.is_file():
            raise UserError(f"{self.path} holds no finished run (no predictions.npz); `audio-tokens train` makes one")
        return Predictions.load(file)

    def result(self) -> dict[str, Any]:
        """Return result.json. Raises UserError where the run is not complete, or the file damaged."""
        file = self.path / "result.json"
        if not file.is_file():
            raise UserError(f"{self.path} holds no finished run (no result.json); `audio-tokens train` makes one")
        try:
            found = checked(json_of(file.read_bytes()), {"seed": int, "clips_train": int})
            return found if "pretrained" in found else checked(found, RESULT)
        except ValueError as error:
            raise damaged(file, error) from None

    def finish(self, result: dict[str, Any]) -> None:
        """Commit the run; the one it replaces is let go."""
        data = (json.dumps(result, indent=1) + "\n").encode()
        entry = FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        loose = ("checkpoints", "audio-tokens", INTEGRITY)  # of use to a training alone, a tracker's, and itself
        written = [path for pattern in WRITTEN for path in self.path.glob(pattern) if path.name not in loose]
        files = [
            path.relative_to(self.path).as_posix()
            for each in written
            for path in ([each] if each.is_file() else each.rglob("*"))
            if path.is_file()
        ]
        seal(self.path, FORMAT, self.made_from, {*files, "result.json"}, {"result.json": entry})
        publish_bytes(self.path / "result.json", data)
        shutil.rmtree(self.path / "replaced", ignore_errors=True)

    def relative(self, location: str | None) -> str | None:
        """Return a path as config.yaml holds it: from the run's folder on, so that both may move; a URL masked."""
        if location is None or "://" in location:
            return location and masked(location)
        return os.path.relpath(Path(location).resolve(), self.path.resolve())

    def located(self, value: str | None) -> str | None:
        """Return where what config.yaml names lies now; older runs named it from the folder they were started in."""
        if value is None or "://" in value or not (self.path / value).exists():
            return value
        return str(self.path / value)


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


def _curves_of(phase: str) -> str:
    return "refit" if phase == "refit" else "metrics"


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
