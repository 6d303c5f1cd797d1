"""Classes and clips chosen when reading: what is left is what was asked for, and nothing else has changed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

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
    few = with_classes(data, f"top:3;{data.labels[5]}", ("train",))
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


def test_the_most_frequent_classes_are_those_of_the_folds_that_are_learnt_from(tmp_path: Path) -> None:
    """Fold 1 has five clips of `a` and one of `b`, fold 2 one and three."""
    lines = ["path,labels,fold"]
    for number, (label, fold) in enumerate([("a", 1)] * 5 + [("b", 1), ("a", 2)] + [("b", 2)] * 3):
        soundfile.write(tmp_path / f"{number}.wav", np.random.default_rng(number).uniform(-0.5, 0.5, 8000), 16000)
        lines.append(f"{number}.wav,{label},{fold}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    assert cli.main(f"build --source csv:{tmp_path}/list.csv --out {tmp_path}/shards --workers 1".split()) == 0
    data = open_data(None, f"{tmp_path}/shards")
    assert [with_classes(data, "top:1", (place,)).labels for place in ("fold-1", "fold-2")] == [("a",), ("b",)]
    words = f"train --shards {tmp_path}/shards --system raw-linear --out {tmp_path}/run --options.epochs 1"
    assert cli.main([*words.split(), "--classes", "top:1", "--test-fold", "1"]) == 2, "of one class nothing is learnt"


def test_a_list_of_keys_that_says_something_else_makes_another_run(
    shards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, words = tmp_path / "keys.txt", f"train --shards {shards} --system raw-linear --out {tmp_path}/run"
    clips = open_data(None, shards).read(("train",))[0].keys
    keys.write_text("\n".join(clips[:60]))
    quick = [*words.split(), "--options.epochs", "1", "--subset", str(keys)]
    assert cli.main(quick) == 0
    keys.write_text(" ".join(reversed(list(clips[:60]))))
    assert cli.main(quick) == 0, "the same keys, written otherwise"
    assert "is complete already" in capsys.readouterr().out
    keys.write_text("\n".join(clips[:61]))
    assert cli.main(quick) == 2
    assert "holds a run made with other settings or from other data" in capsys.readouterr().err


def test_mistakes_are_named(shards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="there is no label 'dgo'"):
        with_classes(open_data(None, shards), "dgo", ("train",))
    words = f"train --shards {shards} --system raw-linear --out {tmp_path}/run --subset nowhere.txt"
    assert cli.main(words.split()) == 2
    assert "no ratio, no number and no file of keys" in capsys.readouterr().err
