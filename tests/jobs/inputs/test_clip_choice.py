"""Classes and clips chosen when reading: what is left is what was asked for, and nothing else has changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.clip_choice import ClipSubset, with_classes
from audio_tokens.jobs.inputs.training_data import open_data, parts_of


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("narrowing")
    words = f"build --source soundscapes:200,clip_s=1 --out {folder}/shards --workers 1"
    assert cli.main(words.split()) == 0
    return f"{folder}/shards"


def test_labels_keep_only_the_chosen_whatever_the_layout() -> None:
    rng = np.random.default_rng(0)
    lengths_C = rng.integers(0, 4, 50)
    order_C = rng.permutation(50)  # clips may lie in any order, and share nothing
    starts_C = (np.cumsum(lengths_C) - lengths_C)[order_C]
    lengths_C = lengths_C[order_C]
    ids = rng.integers(0, 6, int(lengths_C.sum()))
    labels = Labels(ids=ids, starts_C=starts_C, lengths_C=lengths_C, count=6)
    only = labels.only((4, 1))
    everyone = np.arange(50)
    assert (only.targets(everyone) == labels.targets(everyone)[:, [4, 1]]).all()


def test_only_the_chosen_classes_and_their_clips_are_left(shards: str) -> None:
    data = open_data(None, shards)
    few = with_classes(data, f"top:3;{data.labels[5]}")
    assert 3 <= len(few.labels) <= 4
    ids = [data.labels.index(label) for label in few.labels]
    for place in data.places:
        clips, groups = data.read((place,))
        targets_CL = clips.labels.targets(np.arange(len(clips)))[:, ids]
        left, left_groups = few.read((place,))
        kept = np.flatnonzero(targets_CL.any(axis=1))
        assert list(left.keys) == [clips.keys[clip] for clip in kept]
        assert left_groups == [groups[clip] for clip in kept]
        assert (left.labels.targets(np.arange(len(left))) == targets_CL[kept]).all()


def test_a_subset_narrows_what_is_learnt_from_and_nothing_else(shards: str, tmp_path: Path) -> None:
    data = open_data(None, shards)
    whole = parts_of(data, None, 0.2, 0)
    (tmp_path / "keys.txt").write_text("\n".join(whole.train.keys[:7]))
    for text, clips in ((f"{tmp_path}/keys.txt", 7), ("40", 40), ("0.5", 80)):
        parts = parts_of(data, None, 0.2, 0, ClipSubset(text, seed=0))
        assert len(parts.train) == pytest.approx(clips, abs=0 if clips < 80 else 20)
        assert set(parts.train.keys) <= set(whole.train.keys)
        assert (list(parts.test.keys), list(parts.validation.keys)) == (
            list(whole.test.keys),
            list(whole.validation.keys),
        )
    union = parts_of(data, None, 0.2, 0, ClipSubset(f"40+{tmp_path}/keys.txt", seed=0))
    assert {*whole.train.keys[:7]} < {*union.train.keys}


def test_a_run_on_some_classes_is_evaluated_on_them(shards: str, tmp_path: Path) -> None:
    words = f"train --shards {shards} --system raw-linear --out {tmp_path}/run --options.epochs 1"
    assert cli.main([*words.split(), "--classes", "top:3", "--subset", "100"]) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert len(config["id2label"]) == 3
    assert cli.main(f"evaluate --run {tmp_path}/run --split test".split()) == 0
    assert len(json.loads((tmp_path / "run" / "evaluation-test.json").read_text())["classes"]) == 3


def test_mistakes_are_named(shards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="there is no label 'dgo'"):
        with_classes(open_data(None, shards), "dgo")
    words = f"train --shards {shards} --system raw-linear --out {tmp_path}/run --subset nowhere.txt"
    assert cli.main(words.split()) == 2
    assert "no ratio, no number and no file of keys" in capsys.readouterr().err
