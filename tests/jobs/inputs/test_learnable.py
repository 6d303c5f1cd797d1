"""Data that teaches nothing: `build` warns, `run` and `train` refuse it before any work."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.learnable import problems

NOTHING = {
    "one class": ("dog train|dog train|dog test", "every clip is of one class, dog; add clips of another"),
    "no test": ("dog train|cat train", "there are no test clips, of train alone"),
    "no train": ("dog test|cat test", "there are no clips to train on, of test alone"),
    "one fold": ("dog 1|cat 1", "there is no fold to learn from beside fold-1"),
}


def write(folder: Path, rows: str) -> str:
    """Write a clip and a line for each of the rows; return the source."""
    place = "fold" if rows[-1].isdigit() else "split"
    lines = [f"path,labels,{place}"]
    for number, row in enumerate(rows.split("|")):
        wave_S = np.random.default_rng(number).uniform(-0.3, 0.3, 8000)
        soundfile.write(folder / f"{number}.wav", wave_S, 8000)
        lines.append(f"{number}.wav,{row.replace(' ', ',')}")
    (folder / "list.csv").write_text("\n".join(lines))
    return f"csv:{folder}/list.csv"


# which splits there are is asked before all else
TRAIN_SAYS = {"no train": "no train split to fit on, only test", "no test": "no clips of val to test on, only train"}


@pytest.mark.parametrize("kind", NOTHING)
def test_each_command_says_so(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, problem = NOTHING[kind]
    source = write(tmp_path, rows)
    assert (
        cli.main(["run", "--source", source, "--work", str(tmp_path / "w"), *(["--folds"] if "fold" in kind else [])])
        == 2
    )
    said = capsys.readouterr().err
    assert said.startswith(f"audio-tokens run: error: {source}: {problem}")
    assert said.count("\n") == 1
    assert not (tmp_path / "w").exists()
    assert cli.main(["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]) == 0
    assert f"warning: {problem}" in capsys.readouterr().out
    words = ["train", "--shards", str(tmp_path / "s"), "--system", "raw-linear", "--out", str(tmp_path / "r")]
    assert cli.main([*words, *(["--test-fold", "1"] if "fold" in kind else [])]) == 2
    assert TRAIN_SAYS.get(kind, problem) in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_can_be_learnt_is_not_refused() -> None:
    assert problems(("dog", "cat"), True, ("train", "test")) == []
    assert problems(("dog", "cat"), False, ("train", "val")) == []
    assert problems(("dog",), False, ("test", "train")) == []  # it is there or not
    assert problems(("dog", "cat"), True, ("fold-1", "fold-2")) == []
    assert len(problems((), True, ())) == 2


def test_folds_that_are_not_there_are_missed_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, "dog train|cat test")
    assert cli.main(["run", "--source", source, "--work", str(tmp_path / "w"), "--folds"]) == 2
    assert "leave --folds out" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
