"""What is no artefact any more though its files open: each consumer says what in one line, with exit code 2."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from safetensors.numpy import load_file, save_file

from audio_tokens.engine.codebook.fit_checkpoint import from_bytes
from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.predictions import Predictions
from tests.faults.artefacts import SMALL
from tests.laws.test_damaged import edit, refused


def cut(name: str, to: float = 0.5) -> Callable[[Path], None]:
    def damage(artefact: Path) -> None:
        data = (artefact / name).read_bytes()
        (artefact / name).write_bytes(data[: int(len(data) * to)])

    return damage


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda artefact: (artefact / name).write_text(content) and None


def predictions(**changes: np.ndarray) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        with np.load(run / "predictions.npz") as found:
            arrays = dict(found)
        np.savez(run / "predictions.npz", **(arrays | changes))

    return damage


def narrower(run: Path) -> None:
    file = run / "model" / "model.safetensors"
    save_file({name: array[..., :-1].copy() for name, array in load_file(file).items()}, file, {"format": "pt"})


def one_weight_less(run: Path) -> None:
    file = run / "model" / "model.safetensors"
    save_file({name: array for name, array in load_file(file).items() if name != "head.bias"}, file, {"format": "pt"})


EVALUATE, COMPARE = "evaluate --run RUN --split test --replicates 10", "compare --a RUN --b RUN --replicates 10"
RUNS = {
    "config.yaml is no YAML": (text("config.yaml", "a: [\n"), EVALUATE, "config.yaml"),
    "config.yaml is a list": (text("config.yaml", "- 1\n"), EVALUATE, "config.yaml"),
    "config.yaml lacks keys": (text("config.yaml", "fingerprint: a\n"), EVALUATE, "config.yaml"),
    "config.yaml is cut": (cut("config.yaml", 0.1), EVALUATE, "config.yaml"),
    "model/config.json is cut": (cut("model/config.json"), EVALUATE, "model"),
    "model/config.json lacks its system": (text("model/config.json", "{}"), EVALUATE, "model"),
    "model/config.json is a list": (text("model/config.json", "[]"), EVALUATE, "model"),
    "weights are cut": (cut("model/model.safetensors"), EVALUATE, "model"),
    "weights have other shapes": (narrower, EVALUATE, "model"),
    "a weight is missing": (one_weight_less, EVALUATE, "head.bias"),
    "weights are gone": (lambda run: (run / "model" / "model.safetensors").unlink(), EVALUATE, "model"),
    "predictions are cut": (cut("predictions.npz"), COMPARE, "predictions.npz"),
    "predictions are text": (text("predictions.npz", "text"), COMPARE, "predictions.npz"),
    "predictions differ in size": (predictions(keys=np.array(["a"])), COMPARE, "predictions.npz"),
    "predictions of another rank": (predictions(scores=np.zeros(3, np.float32)), COMPARE, "predictions.npz"),
    "predictions of another type": (predictions(labels=np.zeros((2, 2))), COMPARE, "predictions.npz"),
    "result.json is cut": (cut("result.json"), "describe RUN", "result.json"),
    "result.json is a list": (text("result.json", "[]"), "report --work RUN/../..", "result.json"),
    "result.json lacks figures": (
        text("result.json", '{"seed": 0, "clips_train": 1}'),
        "report --work RUN/../..",
        "system",
    ),
    "result.json of another type": (text("result.json", '{"seed": "x", "clips_train": 1}'), "describe RUN", "seed"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_damaged_run(name: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, words, told = RUNS[name]
    run = tmp_path / "default-0" / "token-bag"
    shutil.copytree(artefacts / "bag", run)
    edit_paths(run, artefacts)
    damage(run)
    line = refused(words.replace("RUN", str(run)), capsys)
    assert told in line
    assert str(run) in line or "/../.." in line


def edit_paths(run: Path, artefacts: Path) -> None:
    """Have a copied run find its tokens."""
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("../tokens.zarr", str(artefacts / "tokens.zarr")))


def test_a_sound_copy_passes(artefacts: Path, tmp_path: Path) -> None:
    """What the laws above damage is refused for the damage alone."""
    run = tmp_path / "default-0" / "token-bag"
    shutil.copytree(artefacts / "bag", run)
    edit_paths(run, artefacts)
    for words in (EVALUATE, COMPARE, "describe RUN"):
        assert cli.main(words.replace("RUN", str(run)).split()) == 0, words


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        group = zarr.open_group(store / "val", mode="r+")
        values = np.asarray(group[name])
        del group[name]
        group.create_array(name, data=change(values))

    return damage


def falling(offsets: np.ndarray) -> np.ndarray:
    return np.concatenate([offsets[:1], offsets[-2:0:-1], offsets[-1:]])


def garbage(store: Path) -> None:
    file = next(path for path in (store / "val" / "ids" / "c").rglob("*") if path.is_file())
    data = file.read_bytes()
    file.write_bytes(data[:10] + bytes(byte ^ 0x55 for byte in data[10:]))


TOKENS = {
    "offsets fall": array("offsets", falling),
    "offsets end too early": array("offsets", lambda x: np.minimum(x, x[-1] - 1)),
    "label offsets begin late": array("label_offsets", lambda x: x + 1),
    "offsets of another length": array("key_offsets", lambda x: x[:-1]),
    "offsets without an entry": array("offsets", lambda x: x[:0]),
    "labels out of range": array("label_ids", lambda x: x + 10_000),
    "labels below 0": array("label_ids", lambda x: x - 1_000),
    "tokens beyond the codebook": array("ids", lambda x: x + np.uint16(10_000)),
    "tokens of another rank": array("ids", lambda x: x[:, 0]),
    "tokens of another type": array("ids", lambda x: x.astype(np.float32)),
    "tokens of more streams": array("ids", lambda x: np.concatenate([x, x], axis=1)),
    "a file that does not decompress": garbage,
    "metadata that is no JSON": lambda store: (store / "val" / "ids" / "zarr.json").write_text("{"),
    "metadata of another kind": lambda store: (store / "val" / "ids" / "zarr.json").write_text("[]"),
    "labels that are no names": lambda store: edit(
        store / "zarr.json", lambda old: old | {"attributes": old["attributes"] | {"labels": [1, 2]}}
    ),
    "a missing attribute": lambda store: edit(
        store / "zarr.json",
        lambda old: old | {"attributes": {k: v for k, v in old["attributes"].items() if k != "vocab_sizes"}},
    ),
}


@pytest.mark.parametrize("name", TOKENS)
def test_damaged_tokens(name: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(artefacts / "tokens.zarr", tmp_path / "tokens.zarr")
    TOKENS[name](tmp_path / "tokens.zarr")
    for words in (
        f"describe {tmp_path}/tokens.zarr",
        f"train --tokens {tmp_path}/tokens.zarr --system token-bag --out {tmp_path}/x",
    ):
        assert "tokens.zarr is damaged" in refused(words, capsys)
        assert not (tmp_path / "x").exists()
    assert cli.main(["verify", f"{tmp_path}/tokens.zarr"]) == 1


def test_keys_that_are_no_text(artefacts: Path, tmp_path: Path) -> None:
    """In a process of its own: the type checks of the tests read strings ahead, and fail of them themselves."""
    shutil.copytree(artefacts / "tokens.zarr", tmp_path / "tokens.zarr")
    array("key_bytes", lambda x: np.full_like(x, 0xFF))(tmp_path / "tokens.zarr")
    words = [sys.executable, "-m", "audio_tokens.jobs.cli", "describe", str(tmp_path / "tokens.zarr")]
    told = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "tokens.zarr is damaged in val" in told.stderr
    assert "Traceback" not in told.stderr


def manifest(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    return lambda shards: edit(shards / "dataset.json", change)


SHARDS = {
    "labels that are no names": manifest(lambda old: old | {"labels": [1]}),
    "fewer labels": manifest(lambda old: old | {"labels": ["a"], "label_counts": {}}),
    "counts of another length": manifest(lambda old: old | {"label_counts": {"train": [1]}}),
    "totals of another type": manifest(lambda old: old | {"totals": {"clips": "many"}}),
    "a shard outside": manifest(lambda old: old | {"shards": [old["shards"][0] | {"name": "../x.tar"}]}),
    "a shard that lacks its place": manifest(lambda old: old | {"shards": [{"name": "x.tar"}]}),
    "a shard of more bytes than there are": manifest(
        lambda old: old | {"shards": [old["shards"][0] | {"bytes": 1 << 70}]}
    ),
    "a shard of more clips than it has room for": manifest(
        lambda old: old | {"shards": [old["shards"][0] | {"clips": 10**12}]}
    ),
    "no mapping": text("dataset.json", "[]"),
}


@pytest.mark.parametrize("name", SHARDS)
def test_damaged_shards(name: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(artefacts / "shards", tmp_path / "shards")
    SHARDS[name](tmp_path / "shards")
    words = f"encode --shards {tmp_path}/shards --codebook {artefacts}/codebook --out {tmp_path}/t.zarr --workers 1"
    assert str(tmp_path / "shards") in refused(words, capsys)
    assert not (tmp_path / "t.zarr").exists()


def test_a_flipped_bit_in_the_state_of_a_fit_is_no_other_state(artefacts: Path) -> None:
    from dataclasses import replace

    from audio_tokens.engine.codebook.codebook_file import Codebook
    from audio_tokens.engine.codebook.fit_checkpoint import to_bytes
    from audio_tokens.engine.codebook.fit_codebook import FitCheckpoint

    codebook = Codebook.load(artefacts / "codebook")
    state = FitCheckpoint(streams=codebook.streams, history=codebook.history, offset_F=codebook.offset_F, scale=1.0)
    data = to_bytes(state, "print")
    restored, fingerprint = from_bytes(data)
    assert fingerprint == "print"
    assert to_bytes(replace(restored), "print") == data
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(200):
        torn = bytearray(data)
        torn[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        try:
            found = to_bytes(from_bytes(bytes(torn))[0], "print")
        except UserError:
            refusals += 1
        else:
            assert found == data, "a bit that says nothing"
    assert refusals > 150


def test_a_flipped_bit_in_the_state_of_a_training_is_one_line(
    artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train --tokens {artefacts}/tokens.zarr --system token-lstm --out {tmp_path}/run {SMALL}"
    shutil.copytree(artefacts / "lstm", tmp_path / "run")
    edit_paths(tmp_path / "run", artefacts)
    (tmp_path / "run" / "result.json").unlink()
    states = sorted((tmp_path / "run" / "checkpoints").rglob("*.safetensors"))
    assert len(states) == 2
    for state in states:
        whole = state.read_bytes()
        for data in (whole[:-9], whole[: len(whole) // 2], b"", whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:]):
            state.write_bytes(data)
            assert f"checkpoint {state} is damaged" in refused(words, capsys)
        state.write_bytes(whole)
    assert cli.main(words.split()) == 0
    assert cli.main(["verify", f"{tmp_path}/run"]) == 0


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wanted = Predictions(
        keys=["é", "b"],
        groups=["speaker", ""],
        labels=["x", "y", "z"],
        scores_CL=rng.random((2, 3), np.float32),
        targets_CL=rng.random((2, 3)) < 0.5,
    )
    wanted.save(tmp_path / "p.npz")
    found = Predictions.load(tmp_path / "p.npz")
    assert (found.keys, found.groups, found.labels) == (wanted.keys, wanted.groups, wanted.labels)
    assert np.array_equal(found.scores_CL, wanted.scores_CL)
    assert np.array_equal(found.targets_CL, wanted.targets_CL)
