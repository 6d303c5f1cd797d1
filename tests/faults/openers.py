"""Everything that opens a file which another program, or a broken disk, may have written.

Each opener reads an artefact in a folder that is its own to spoil. What it raises for a file that is not right must be
a UserError.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.command import parse
from audio_tokens.jobs.inputs.front_end import front_end_config
from audio_tokens.jobs.run import Run
from audio_tokens.jobs.sweep import Sweep, sweep
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.integrity import read_integrity
from audio_tokens.shards.sources import csv_list, manifest
from audio_tokens.shards.sources.label_list import read_labels
from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore
from tests.faults.mutants import any_of, of_bytes, of_json, of_lines, of_yaml

Way = Callable[[bytes, random.Random], bytes]
RECIPE = """
slices: {normalise: mean-std, contexts: [4, 16], stride: 2, whiten_variance: 0.99}
kmeans: {clusters: [500, 200], metric: cosine, passes: 20}
train: {epochs: 30, learning_rate: 0.001}
systems: {token-bert: {width: 64, dropout: 0.1}, token-bag: {}}
top: 3
"""
GRID = """
name: grid
systems: [token-bag]
seeds: [0, 1]
base: {kmeans: {clusters: [50]}}
axes: {k: {k50: {}, k100: {kmeans: {clusters: [100]}}}, context: {c4: {slices: {contexts: [4]}}}}
"""
MEL = "kind: stft\nrate_hz: 16000\nhigh_hz: 8000.0\nbands: 32\nhop_samples: 256\ntop_db: 80.0\n"
CSV = (
    "path,labels,split,group,offset,duration\n"
    "a.wav,dog;cat,train,g1,0,1.5\nb/c.flac,cat,test,g2,,\nd.wav,dog,val,g3,1,\n"
)
LHOTSE = {
    "id": "c",
    "start": 0,
    "duration": 2,
    "channel": 0,
    "recording": {"duration": 2, "sources": [{"type": "file", "source": "c.wav"}]},
    "supervisions": [{"text": "cat", "custom": {}}],
    "custom": {"split": "val"},
}
JSONL = (
    '{"audio_filepath": "a.wav", "offset": 0.5, "duration": 1.5, "label": "dog", "split": "train"}\n'
    '{"audio_filepath": "b.wav", "label": ["dog", "cat"], "split": "test"}\n' + json.dumps(LHOTSE) + "\n"
)
LABELS = "index,mid,display_name\n0,/m/1,dog\n1,/m/2,cat\n2,/m/3,a bird\n"


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


def _recipe(path: Path) -> None:
    parse(Run, ["--source", "soundscapes", "--work", "w", "--recipe", str(path)], prog="run")


def _grid(path: Path) -> None:
    sweep(Sweep(source="soundscapes", work="w", recipe_grid=str(path), dry_run=True))


def _csv(path: Path) -> None:
    csv_list.source(str(path)).tasks()


def _jsonl(path: Path) -> None:
    manifest.source(str(path)).tasks()


OPENERS = {
    "shards: a tar": Opener("shards", "*.tar", of_bytes, _shards),
    "shards: a tar under a URL": Opener("shards", "*.tar", of_bytes, _remote),
    "shards: the table of clips": Opener("shards", "clips.npz", of_bytes, _shards),
    "shards: dataset.json": Opener("shards", "dataset.json", any_of(of_json, of_json, of_bytes), _shards),
    "integrity.json": Opener("codebook", "integrity.json", any_of(of_json, of_bytes), read_integrity),
    "codebook: config.json": Opener("codebook", "config.json", any_of(of_json, of_json, of_bytes), _codebook),
    "codebook: arrays": Opener("codebook", "*.safetensors", of_bytes, _codebook),
    "tokens: zarr.json": Opener("tokens.zarr", "**/zarr.json", any_of(of_json, of_json, of_bytes), _tokens),
    "tokens: a chunk": Opener("tokens.zarr", "**/c/**/*", of_bytes, _tokens),
    "run: config.yaml": Opener("bag", "config.yaml", any_of(of_yaml, of_bytes), _run),
    "run: result.json": Opener("bag", "result.json", any_of(of_json, of_bytes), _run),
    "run: predictions": Opener("bag", "predictions.npz", of_bytes, _run),
    "recipe": Opener("recipe.yaml", "", any_of(of_yaml, of_yaml, of_bytes), _recipe),
    "grid of recipes": Opener("grid.yaml", "", any_of(of_yaml, of_yaml, of_bytes), _grid),
    "front end": Opener("mel.yaml", "", any_of(of_yaml, of_yaml, of_bytes), lambda path: front_end_config(str(path))),
    "csv list": Opener("list.csv", "", any_of(of_lines, of_bytes), _csv),
    "manifest": Opener("list.jsonl", "", any_of(of_lines, of_bytes, of_lines), _jsonl),
    "labels": Opener("labels.csv", "", any_of(of_lines, of_bytes), lambda path: read_labels(str(path))),
}


def lay_out(artefacts: Path, folder: Path) -> None:
    """Copy the artefacts into a folder whose files may be spoilt, and write the texts beside them."""
    for name in ("shards", "codebook", "tokens.zarr", "bag"):
        shutil.copytree(artefacts / name, folder / name)
    texts = {"recipe.yaml": RECIPE, "grid.yaml": GRID, "mel.yaml": MEL, "list.csv": CSV, "list.jsonl": JSONL}
    for name, text in (texts | {"labels.csv": LABELS}).items():
        (folder / name).write_text(text)


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
