"""Everything that opens a file which another program, or a broken disk, may have written.

Each opener reads an artefact in a folder that is its own to spoil. What it raises for a file that is not right must be
a UserError.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.fit_checkpoint import from_bytes
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.decode import decode
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.description import facts_of
from audio_tokens.jobs.artefacts.leaderboard import collect
from audio_tokens.jobs.artefacts.report.runs import judged, learning_curves, run_groups
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.command import parse
from audio_tokens.jobs.inputs.clip_choice import ClipSubset
from audio_tokens.jobs.inputs.front_end import front_end_config
from audio_tokens.jobs.report import rejects_of
from audio_tokens.jobs.run import Run
from audio_tokens.jobs.sweep import Sweep, sweep
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.integrity import read_integrity
from audio_tokens.shards.publish import published_file
from audio_tokens.shards.sources import csv_list, manifest
from audio_tokens.shards.sources.audioset.segments import read_segments
from audio_tokens.shards.sources.files import find_files
from audio_tokens.shards.sources.label_list import read_labels
from audio_tokens.shards.sources.registry import open_source
from audio_tokens.shards.tasks.commit import Records
from audio_tokens.shards.tasks.task_folder import is_recorded, prepare
from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore
from audio_tokens.shards.workers.retry import reason_of
from tests.faults.mutants import any_of, of_bytes, of_json, of_lines, of_yaml
from tests.shards.tasks.toy_build import listed, toy_tasks

if TYPE_CHECKING:
    from audio_tokens.engine.systems.tagger import Tagger

Way = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Opener:
    """`open` reads the artefact at a path, one of whose files (by pattern) was changed in some `way`."""

    of: str
    pattern: str
    way: Way
    open: Callable[[Path], object]


def _shards(path: Path) -> None:
    dataset = Dataset.open(path)
    dataset.hash  # noqa: B018
    for index in range(len(dataset.shards)):
        for _ in dataset.read(index):
            pass


def _remote(path: Path) -> None:
    dataset = Dataset.open(f"file://{path}")
    for index in range(len(dataset.shards)):
        for _ in dataset.read(index):
            pass


def _codebook(path: Path) -> None:
    codebook = Codebook.load(path)
    codebook.hash  # noqa: B018
    AudioTokenizer(codebook).encode_mels([np.zeros((20, codebook.mel["bands"]), np.float32)])


def _tokens(path: Path) -> None:
    store = TokenStore.open(path)
    for place in store.places:
        for name in (place, place + VIEWS) if store.views else (place,):
            store.group(name).load()


def _run(path: Path) -> None:
    run = RunFolder(path)
    run.settings()
    run.result()
    run.predictions()
    facts_of(path, "run")


def _reported(path: Path) -> None:
    collect(path)
    _, groups = run_groups(path)
    learning_curves(groups)
    judged(groups[0])
    rejects_of(path / "shards")


def _tagger(path: Path) -> None:
    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger

    AudioTagger.from_pretrained(path, device="cpu")((np.zeros(4000, np.float32), 16_000))
    facts_of(path, "model")


@cache
def _model(run: Path) -> "Tagger":
    """Return a model like the one that a run trains or pre-trains."""
    from audio_tokens.engine.systems.registry import build
    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.engine.training.pretraining import MaskedTokens

    config = TaggerConfig.from_dict(json.loads((run / "model" / "config.json").read_bytes()))
    return MaskedTokens(config) if run.name == "body" else build(config)


def _started(path: Path) -> None:
    from audio_tokens.engine.training.pretraining import start_from

    start_from(_model(path), path / "model")


def _checkpoints(path: Path) -> None:
    import torch

    from audio_tokens.engine.training.checkpoints import Checkpoints

    model = _model(path)
    (folder,) = (path / "checkpoints").iterdir()
    checkpoints = Checkpoints(folder=folder, publish=published_file)
    assert checkpoints.load("last", model, torch.optim.AdamW(model.parameters()))


def _recipe(path: Path) -> None:
    parse(Run, ["--source", "soundscapes", "--work", "w", "--recipe", str(path)], prog="run")


def _grid(path: Path) -> None:
    sweep(Sweep(source="soundscapes", work="w", recipe_grid=str(path), dry_run=True))


def _csv(path: Path) -> None:
    csv_list.source(str(path)).tasks()


def _jsonl(path: Path) -> None:
    manifest.source(str(path)).tasks()


def _source(kind: str, path: Path) -> None:
    """List a source and read it; what reading raises fails the task, and is told in one line as workers do."""
    source = open_source(f"{kind}:{path}")
    for task in source.tasks():
        try:
            for _ in source.clips(task):
                pass
        except Exception as error:
            raise UserError(reason_of(error)) from None


def _unfinished(path: Path) -> None:
    tasks = toy_tasks(path)
    prepare(tasks, listed(tasks), force=False)
    list(Records(tasks, [index for index, _ in listed(tasks) if is_recorded(tasks, index)]))


def _segments(path: Path) -> None:
    for file in path.glob("*.csv"):
        for _ in read_segments(str(file)):
            pass


def _sound(path: Path) -> None:
    for file in path.iterdir():
        decode(file.read_bytes())


JSON, YAML, LINES = any_of(of_json, of_json, of_bytes), any_of(of_yaml, of_yaml, of_bytes), any_of(of_lines, of_bytes)
OPENERS = {
    "shards: a tar": Opener("shards", "*.tar", of_bytes, _shards),
    "shards: a tar under a URL": Opener("shards", "*.tar", of_bytes, _remote),
    "shards: the table of clips": Opener("shards", "clips.npz", of_bytes, _shards),
    "shards: dataset.json": Opener("shards", "dataset.json", JSON, _shards),
    "integrity.json": Opener("codebook", "integrity.json", JSON, read_integrity),
    "build: a record": Opener("build", ".tasks/*.json", of_bytes, _unfinished),
    "codebook: config.json": Opener("codebook", "config.json", JSON, _codebook),
    "codebook: arrays": Opener("codebook", "*.safetensors", of_bytes, _codebook),
    "codebook: a checkpoint": Opener("fit.safetensors", "", of_bytes, lambda path: from_bytes(path.read_bytes())),
    "tokens: zarr.json": Opener("tokens.zarr", "**/zarr.json", JSON, _tokens),
    "tokens: a chunk": Opener("tokens.zarr", "**/c/**/*", of_bytes, _tokens),
    "run: config.yaml": Opener("bag", "config.yaml", YAML, _run),
    "run: result.json": Opener("bag", "result.json", JSON, _run),
    "run: an evaluation": Opener("bag", "evaluation-*.json", JSON, _run),
    "run: predictions": Opener("bag", "predictions.npz", of_bytes, _run),
    "run: a checkpoint": Opener("lstm", "checkpoints/*/last.safetensors", of_bytes, _checkpoints),
    "report: curves": Opener("work", "default-0/*/metrics.csv", LINES, _reported),
    "report: rejects": Opener("work", "shards/rejects.jsonl", LINES, _reported),
    "report: the model": Opener("work", "default-0/*/model/config.json", JSON, _reported),
    "pre-training: a checkpoint": Opener("body", "checkpoints/*/last.safetensors", of_bytes, _checkpoints),
    "pre-trained weights": Opener("body", "model/*.safetensors", of_bytes, _started),
    "model: config.json": Opener("model", "config.json", JSON, _tagger),
    "model: weights": Opener("model", "*.safetensors", of_bytes, _tagger),
    "model: front end": Opener("model", "front_end.json", JSON, _tagger),
    "model: its codebook": Opener("model", "codebook/*", of_bytes, _tagger),
    "recipe": Opener("recipe.yaml", "", YAML, _recipe),
    "grid of recipes": Opener("grid.yaml", "", YAML, _grid),
    "front end": Opener("mel.yaml", "", YAML, lambda path: front_end_config(str(path))),
    "csv list": Opener("list.csv", "", LINES, _csv),
    "manifest": Opener("list.jsonl", "", LINES, _jsonl),
    "packed manifest": Opener("list.jsonl.gz", "", of_bytes, _jsonl),
    "labels": Opener("labels.csv", "", LINES, lambda path: read_labels(str(path))),
    "addresses": Opener("addresses.txt", "", LINES, lambda path: find_files(str(path), ".tar")),
    "keys of a subset": Opener("subset.keys", "", LINES, lambda path: ClipSubset(str(path), 0).mask(["a"], ["g"])),
    "segment lists": Opener("audioset-tars", "*.csv", LINES, _segments),
    "audioset: tars": Opener("audioset-tars", "*.tar", of_bytes, partial(_source, "audioset")),
    "audioset: lists": Opener("audioset-tars", "*.csv", LINES, partial(_source, "audioset")),
    "audioset: parquet": Opener("audioset-parquet", "**/*.parquet", of_bytes, partial(_source, "audioset")),
    "hf: parquet": Opener("hf", "*.parquet", of_bytes, partial(_source, "hf")),
    "wds: a tar": Opener("wds", "*.tar", of_bytes, partial(_source, "wds")),
    "wds: a packed tar": Opener("wds-gz", "*.tar.gz", of_bytes, partial(_source, "wds")),
    "sound": Opener("sounds", "*", of_bytes, _sound),
}


def spoil(opener: Opener, folder: Path, rng: random.Random) -> tuple[Path, bytes, Exception | None]:
    """Change a file, open the artefact, and put the file back; return it, what it held, and what was raised."""
    at = folder / opener.of
    file = rng.choice([path for path in sorted(at.glob(opener.pattern)) if path.is_file()]) if opener.pattern else at
    whole = file.read_bytes()
    data = opener.way(whole, rng)
    file.write_bytes(data)
    try:
        opener.open(at)
    except Exception as error:
        return file, data, error
    finally:
        file.write_bytes(whole)
    return file, data, None
