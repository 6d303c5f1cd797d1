"""What is damaged on disk is one line that names it, exit code 2: never a traceback, and never tokens all the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from audio_tokens.jobs import cli


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("damaged")
    for words in (
        f"build --source soundscapes:60,clip_s=1 --out {work}/shards --workers 1",
        f"cluster --shards {work}/shards --out {work}/codebook --recipe.kmeans.clusters 20",
        f"encode --shards {work}/shards --codebook {work}/codebook --out {work}/tokens.zarr --workers 1",
    ):
        assert cli.main(words.split()) == 0, words
    return work


def refused(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return its one line."""
    capsys.readouterr()
    assert cli.main(words.split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    return line


def edit(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def zeroed(shards: Path) -> None:
    file = first_shard(shards)
    file.write_bytes(bytes(file.stat().st_size))


def not_a_number(shards: Path) -> None:
    data = bytearray(first_shard(shards).read_bytes())
    values = data.index(b"\n", data.index(b"\x93NUMPY")) + 1
    data[values : values + 2] = np.array(np.nan, np.float16).tobytes()
    first_shard(shards).write_bytes(bytes(data))


def first_shard(shards: Path) -> Path:
    manifest = json.loads((shards / "dataset.json").read_text())
    return shards / next(shard["name"] for shard in manifest["shards"] if shard["place"] == "train")


def without(key: str) -> Callable[[Path], None]:
    def damage(shards: Path) -> None:
        edit(shards / "dataset.json", lambda manifest: {name: manifest[name] for name in manifest if name != key})

    return damage


SHARDS = {
    "zeroed": (zeroed, "is damaged at its clip"),
    "not a number": (not_a_number, "not finite"),
    "gone": (lambda shards: first_shard(shards).unlink(), "missing"),
    "producer": (without("producer"), "producer"),
    "places": (without("places"), "places"),
    "mel": (lambda shards: edit(shards / "dataset.json", lambda manifest: manifest | {"producer": {}}), "which mel"),
}


@pytest.mark.parametrize("name", SHARDS)
def test_damaged_shards(name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, word = SHARDS[name]
    shutil.copytree(made / "shards", tmp_path / "shards")
    damage(tmp_path / "shards")
    assert word in refused(f"cluster --shards {tmp_path}/shards --out {tmp_path}/c", capsys)
    assert not (tmp_path / "c").exists()
    if name in ("zeroed", "not a number", "gone"):
        words = f"encode --shards {tmp_path}/shards --codebook {made}/codebook --out {tmp_path}/t.zarr --workers 1"
        # its manifest's hash did not change, so that only its clips can tell
        assert word in refused(words, capsys)
        assert not (tmp_path / "t.zarr").exists()


def arrays(**changes: np.ndarray) -> Callable[[Path], None]:
    def damage(codebook: Path) -> None:
        file = codebook / "codebook.safetensors"
        save_file(load_file(file) | {name.replace("_", "."): array for name, array in changes.items()}, file)

    return damage


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda codebook: edit(codebook / "config.json", lambda old: old | changes)


CODEBOOKS = {
    "metric": (config(metric="manhattan"), "damaged codebook"),
    "contexts": (
        lambda codebook: edit(
            codebook / "config.json", lambda old: old | {"slices": old["slices"] | {"contexts": [8]}}
        ),
        "0.matrix",
    ),
    "mel": (config(mel={"bands": 64, "noise": 1}), "codebook"),
    "not finite": (lambda codebook: arrays(offset=np.full(64, np.nan, np.float32))(codebook), "not finite"),
    "narrow": (arrays(**{"0_centroids": np.zeros((20, 7), np.float32)}), "0.matrix"),
    "few": (arrays(**{"0_usage": np.zeros(3, np.int64)}), "damaged codebook"),
}


@pytest.mark.parametrize("name", CODEBOOKS)
def test_a_damaged_codebook(name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, word = CODEBOOKS[name]
    shutil.copytree(made / "codebook", tmp_path / "codebook")
    damage(tmp_path / "codebook")
    line = refused(f"encode --shards {made}/shards --codebook {tmp_path}/codebook --out {tmp_path}/t.zarr", capsys)
    assert word in line
    assert "codebook" in line


TOKENS = {
    "an array is gone": lambda store: shutil.rmtree(store / "val" / "ids"),
    "a file of an array is gone": lambda store: shutil.rmtree(store / "val" / "ids" / "c"),
    "a file of an array is cut": lambda store: [
        file.write_bytes(file.read_bytes()[:10]) for file in (store / "val" / "ids" / "c").rglob("*") if file.is_file()
    ],
    "a group is gone": lambda store: shutil.rmtree(store / "val"),
    "an attribute is gone": lambda store: edit(
        store / "zarr.json", lambda old: old | {"attributes": old["attributes"] | {"labels": None}}
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_damaged_tokens(name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(made / "tokens.zarr", tmp_path / "tokens.zarr")
    TOKENS[name](tmp_path / "tokens.zarr")
    tokens = f"--tokens {tmp_path}/tokens.zarr"
    for words in (
        f"export {tokens} --out {tmp_path}/x",
        f"quality {tokens} --shards {made}/shards --codebook {made}/codebook --out {tmp_path}/x",
        f"train {tokens} --system token-bag --out {tmp_path}/x",
    ):
        assert "tokens.zarr is damaged" in refused(words, capsys)
        assert not (tmp_path / "x").exists()


def test_a_damaged_checkpoint(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".c.checkpoint.safetensors").write_bytes(b"garbage")
    assert "--force" in refused(f"cluster --shards {made}/shards --out {tmp_path}/c", capsys)


def test_a_negative_seed_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "seed is -1" in refused(f"cluster --shards {made}/shards --out {tmp_path}/c --seed -1", capsys)


def test_quality_of_no_clips_is_refused(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"quality --shards {made}/shards --codebook {made}/codebook --tokens {made}/tokens.zarr --out {tmp_path}/q"
    assert "clips is 0" in refused(f"{words} --clips 0", capsys)
