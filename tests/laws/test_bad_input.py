"""A user's mistake is one line on stderr that names the value and the remedy, exit code 2, and never a traceback."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, a codebook, tokens and a run, small and made by the commands themselves."""
    work = tmp_path_factory.mktemp("made")
    for words in (
        f"build --source soundscapes:60,clip_s=1 --out {work}/shards --workers 1",
        f"build --source soundscapes:60,clip_s=1 --out {work}/shards16 --workers 1 --mel ast16k",
        f"cluster --shards {work}/shards --out {work}/codebook --recipe seed --recipe.kmeans.clusters 8",
        f"encode --shards {work}/shards --codebook {work}/codebook --out {work}/tokens.zarr --workers 1",
        f"train --tokens {work}/tokens.zarr --system token-bag --out {work}/bag",
    ):
        assert cli.main(words.split()) == 0, words
    return work


# NEW, EMPTY, OLD and MADE stand for folders; each row: the command, the value it must name, the remedy it must name.
MISTAKES = {
    "no such source kind": ("build --source esc5:/x --out NEW", "esc5", "esc50"),
    "missing source folder": ("build --source esc50:NEW/absent --out NEW/s", "absent", ""),
    "source without its list": ("build --source esc50:EMPTY --out NEW/s", "esc50.csv", ""),
    "missing list": ("build --source csv:NEW/absent.csv --out NEW/s", "absent.csv", ""),
    "number of clips": ("build --source soundscapes:many --out NEW/s", "many", ""),
    "no clips": ("build --source soundscapes:0 --out NEW/s", "0", ""),
    "source option": ("build --source soundscapes:10,clip=4 --out NEW/s", "clip", "clip_s"),
    "front end": ("build --source soundscapes:10 --out NEW/s --mel mel23k", "mel23k", "mel22k"),
    "workers": ("build --source soundscapes:10 --out NEW/s --workers 0", "0", "--workers"),
    "clips without end": ("build --source soundscapes:inf --out NEW/s", "inf", "whole number"),
    "unknown protocol": (
        "build --source audioset:nonsense://x --out NEW/s",
        "nonsense://x",
        "--allow nonsense permits it",
    ),
    "nobody serves": ("build --source audioset:http://127.0.0.1:9/x/ --out NEW/s", "127.0.0.1:9", "cannot be read"),
    "nobody serves the list": ("build --source wds:http://127.0.0.1:9/x.txt --out NEW/s", "127.0.0.1:9/x.txt", ""),
    "half a brace": ("build --source wds:NEW/x-{00.tar --out NEW/s", "x-{00.tar", "Unbalanced braces"),
    "share to validate": ("build --source audioset:EMPTY,val=nan --out NEW/s", "nan", "[0, 1)"),
    "share of shards to validate": ("build --source wds:EMPTY,val=7 --out NEW/s", "7", "[0, 1)"),
    "segments of something else": (
        "build --source soundscapes:9 --segments NEW --out NEW/s",
        "--segments",
        "audioset:",
    ),
    "time-out beyond reason": ("build --source soundscapes:9 --out NEW/s --clip-timeout-s 1e300", "1e+300", "86400"),
    "no address of a scheduler": ("build --source soundscapes:9 --out NEW/s --dask=", "no Dask scheduler", ""),
    "output in a bucket": ("build --source soundscapes:9 --out s3://bucket/s", "s3://bucket/s", "local folder"),
    "output below a file": ("build --source soundscapes:9 --out OLD/dataset.json/s", "dataset.json", "another path"),
    "output of an endless name": (f"build --source soundscapes:9 --out NEW/{'s' * 300}", "too long", "another path"),
    "negative number of labels": ("describe MADE/shards --most-labels -3", "-3", "0 or more"),
    "missing shards": ("cluster --shards NEW/absent --out NEW/c", "absent", "build"),
    "shards that are none": ("cluster --shards EMPTY --out NEW/c", "EMPTY", "build"),
    "shards of another version": ("cluster --shards OLD --out NEW/c", "999", ""),
    "clusters": ("cluster --shards MADE/shards --out NEW/c --recipe.kmeans.clusters 0", "0", ""),
    "more clusters than vectors": (
        "cluster --shards MADE/shards --out NEW/c --recipe.kmeans.clusters 60000",
        "60000",
        "",
    ),
    "unknown normalisation": (
        "cluster --shards MADE/shards --out NEW/c --recipe.slices.normalise minmax",
        "minmax",
        "min-max",
    ),
    "a fold of data without folds": ("cluster --shards MADE/shards --out NEW/c --test-fold 1", "1", ""),
    "recipe": ("cluster --shards MADE/shards --out NEW/c --recipe nope", "nope", "default"),
    "missing codebook": ("encode --shards MADE/shards --codebook NEW/absent --out NEW/t.zarr", "absent", "cluster"),
    "codebook of another mel": ("encode --shards MADE/shards16 --codebook MADE/codebook --out NEW/t.zarr", "mel", ""),
    "missing tokens": ("train --tokens NEW/absent.zarr --system token-bag --out NEW/r", "absent.zarr", "encode"),
    "system": ("train --tokens MADE/tokens.zarr --system token-bart --out NEW/r", "token-bart", "token-bert"),
    "tokens for a raw system": ("train --tokens MADE/tokens.zarr --system raw-cnn --out NEW/r", "raw-cnn", "--shards"),
    "shards for a token system": ("train --shards MADE/shards --system token-bag --out NEW/r", "token-bag", "--tokens"),
    "neither tokens nor shards": ("train --system token-bag --out NEW/r", "--tokens", ""),
    "training option": (
        "train --tokens MADE/tokens.zarr --system token-linear --out NEW/r --recipe.train.epoch 3",
        "epoch",
        "epochs",
    ),
    "value of a training option": (
        "train --tokens MADE/tokens.zarr --system token-linear --out NEW/r --recipe.train.epochs -3",
        "-3",
        "",
    ),
    "model width": (
        "train --tokens MADE/tokens.zarr --system token-linear --out NEW/r --options.width 0",
        "width",
        "1 or more",
    ),
    "model heads": (
        "train --tokens MADE/tokens.zarr --system token-bert --out NEW/r --options.heads 5",
        "5",
        "multiple",
    ),
    "model dropout": (
        "train --tokens MADE/tokens.zarr --system token-lstm --out NEW/r --options.dropout 2",
        "2",
        "from 0 to below 1",
    ),
    "model convolution": (
        "train --tokens MADE/tokens.zarr --system token-bert --out NEW/r --options.conv -1",
        "-1",
        "0 or more",
    ),
    "penalty of the bag": (
        "train --tokens MADE/tokens.zarr --system token-bag --out NEW/r --options.C 0",
        "C",
        "above 0",
    ),
    "endless rate": (
        "train --tokens MADE/tokens.zarr --system token-linear --out NEW/r --options.learning_rate .inf",
        "inf",
        "",
    ),
    "tracker": (
        "train --tokens MADE/tokens.zarr --system token-bag --out NEW/r --tracker tensorbord",
        "tensorbord",
        "tensorboard",
    ),
    "tracker that is not installed": (
        "train --tokens MADE/tokens.zarr --system token-bag --out NEW/r --tracker comet_ml",
        "comet_ml",
        "install",
    ),
    "share to hide": ("pretrain --tokens MADE/tokens.zarr --out NEW/r --hide 1.5", "1.5", "between 0 and 1"),
    "no bootstrap samples": ("evaluate --run MADE/bag --split test --replicates 0", "0", "1 or more"),
    "no bootstrap samples to compare": ("compare --a MADE/bag --b MADE/bag --replicates -3", "-3", "1000"),
    "number of classes": ("compare --a MADE/bag --b MADE/bag --most-classes -1", "-1", "from 0"),
    "grid that is none": ("sweep --source soundscapes:10 --work NEW/w --recipe-grid seed", "seed.yaml", "grid-2024"),
    "grid of another system": (
        "sweep --source soundscapes:10 --work NEW/w --recipe-grid EMPTY/system.yaml",
        "token-bga",
        "token-bag",
    ),
    "grid of lists": ("sweep --source soundscapes:10 --work NEW/w --recipe-grid EMPTY/axes.yaml", "axes", "grid-2024"),
    "grid that is no YAML": (
        "sweep --source soundscapes:10 --work NEW/w --recipe-grid EMPTY/broken.yaml",
        "broken.yaml",
        "YAML",
    ),
    "grid with a mistake in its last recipe": (
        "sweep --source soundscapes:10 --work NEW/w --recipe-grid EMPTY/last.yaml",
        "epoch",
        "epochs",
    ),
    "option of a recipe": (
        "run --source soundscapes:10 --work NEW/w --systems token-linear --recipe.train.epoch 3",
        "epoch",
        "epochs",
    ),
    "missing run": ("evaluate --run NEW/absent --split test", "absent", "train"),
    "split": ("evaluate --run MADE/bag --split tset", "tset", "test"),
    "another configuration in the same place": (
        "cluster --shards MADE/shards --out MADE/codebook --recipe default",
        "codebook",
        "--force",
    ),
    "unknown system of a run": (
        "run --source soundscapes:10 --work NEW/w --systems token-bga",
        "token-bga",
        "token-bag",
    ),
    "folds without folds": (
        "run --source soundscapes:40,clip_s=1 --work NEW/w --systems token-bag --folds",
        "folds",
        "",
    ),
    "report of nothing": ("report --work EMPTY", "EMPTY", "run"),
    "missing work folder": ("report --work NEW/absent", "absent", "run"),
    "describe nothing": ("describe NEW/absent", "absent", ""),
    "verify nothing": ("verify EMPTY", "EMPTY", ""),
}


GRIDS = {
    "system": "{name: g, axes: {}, systems: [token-bga], seeds: [0]}",
    "axes": "{name: g, axes: {k: [50, 500]}, systems: [token-bag], seeds: [0]}",
    "broken": "{name: [",
    "last": "{name: g, axes: {t: {one: {}, two: {train: {epoch: 1}}}}, systems: [token-linear], seeds: [0]}",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line(name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, value, remedy = MISTAKES[name]
    (tmp_path / "EMPTY").mkdir()
    for grid, text in GRIDS.items():
        if f"{grid}.yaml" in words:
            (tmp_path / "EMPTY" / f"{grid}.yaml").write_text(text)
    shutil.copytree(made / "shards", tmp_path / "OLD")
    manifest = json.loads((tmp_path / "OLD" / "dataset.json").read_text())
    (tmp_path / "OLD" / "dataset.json").write_text(json.dumps(manifest | {"format_version": 999}))
    words = re.sub("NEW|EMPTY|OLD", lambda name: str(tmp_path / name[0]), words).replace("MADE", str(made))
    capsys.readouterr()

    code = cli.main(words.split())

    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert code == 2
    assert len(errors) == 1, errors
    assert value in errors[0]
    assert remedy in errors[0]


def test_a_front_end_of_other_types_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, words in (("5", "lists no field"), ("bands: many", "bands is 'many'"), ("kind: 3", "kind is 3")):
        (tmp_path / "mine.yaml").write_text(text)
        assert cli.main(f"build --source soundscapes:9 --out {tmp_path}/s --mel {tmp_path}/mine.yaml".split()) == 2
        assert words in capsys.readouterr().err


def test_a_damaged_data_set_is_named(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data, code, words in (
        ("clips.npz", b"garbage", 1, "clips.npz is damaged"),
        ("rejects.jsonl", b"{\n", 1, "rejects.jsonl: torn: 2 bytes"),
        ("dataset.json", b'{"format": "audio-tokens-shards", "format_version": 2}', 1, "is damaged (build is missing)"),
    ):
        shutil.copytree(made / "shards", tmp_path / name)
        (tmp_path / name / name).write_bytes(data)
        assert cli.main(["verify", str(tmp_path / name)]) == code
        said = capsys.readouterr()
        assert words in said.out + said.err
    whole, shard = tmp_path / "clips.npz", next((tmp_path / "clips.npz").glob("*.tar"))
    assert cli.main(["describe", str(whole), "--pictures", str(tmp_path / "p.png")]) == 2
    assert "build the data set again" in capsys.readouterr().err
    shard.unlink()
    shard.mkdir()
    assert cli.main(["verify", str(whole)]) == 1
    assert "unreadable: Is a directory" in capsys.readouterr().out


def test_a_damaged_word_on_what_is_being_built_asks_for_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "begun" / ".tasks").mkdir(parents=True)
    (tmp_path / "begun" / ".tasks" / "build.json").write_text("{")
    words = f"build --source soundscapes:9,clip_s=1 --out {tmp_path}/begun --workers 1".split()
    assert cli.main(words) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert cli.main([*words, "--force"]) == 0


def test_a_data_set_without_a_clip_can_be_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("path,labels,split\nmissing.wav,dog,train\n")
    assert cli.main(f"build --source csv:{tmp_path}/list.csv --out {tmp_path}/s --workers 1".split()) == 0
    assert cli.main(["describe", f"{tmp_path}/s"]) == 0
    assert "0 clips" in capsys.readouterr().out
    assert cli.main(["describe", f"{tmp_path}/s", "--pictures", f"{tmp_path}/p.png"]) == 2
    assert "has no clip" in capsys.readouterr().err


def test_unusable_clips_are_rejected_with_their_reason_and_counted(tmp_path: Path) -> None:
    """A missing file inside a list, and what no decoder can use, is a reject; the rest is built."""
    rng = np.random.default_rng(0)
    good = rng.uniform(-0.3, 0.3, 22050).astype(np.float32)
    for name, wave in {
        "a": good,
        "b": good[:11025],
        "nan": np.full(22050, np.nan, np.float32),
        "zero": good[:0],
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, 22050, subtype="FLOAT")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is no sound")
    names = ["a", "b", "nan", "zero", "empty", "text", "missing"]
    rows = [f"{name}.wav,dog;cat,train" for name in names]
    (tmp_path / "list.csv").write_text("path,labels,split\n" + "\n".join(rows) + "\n")
    assert cli.main(f"build --source csv:{tmp_path}/list.csv --out {tmp_path}/shards --workers 1".split()) == 0
    rejects = [json.loads(line) for line in (tmp_path / "shards" / "rejects.jsonl").read_text().splitlines()]
    assert len(rejects) == 5
    manifest = json.loads((tmp_path / "shards" / "dataset.json").read_text())
    assert sum(shard["clips"] for shard in manifest["shards"]) == 2
    text = json.dumps(rejects)
    for name in names[2:]:
        assert name in text
