"""What a command says while it works, and how it answers a line that is not yet, or not quite, a command."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from audio_tokens.jobs import cli
from audio_tokens.jobs.display import progress
from audio_tokens.jobs.display.loudness import as_loud_as
from audio_tokens.jobs.display.progress import ClipBar, step_bar
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task import TaskCounts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("cluster --shards s --out c --k 3", "--recipe.kmeans.clusters"),
        ("cluster --shards s --out c --n_clusters 3", "--recipe.kmeans.clusters"),
        ("train --tokens t --out r --system token-lstm --epochs 3", "--options.epochs"),
        ("train --tokens t --out r --system token-lstm --lr 3", "--options.learning_rate"),
        ("train --tokens t --out r --system token-lstm --batch-size 3", "--options.batch_clips"),
        ("train --tokens t --out r --system token-lstm --fold 3", "--test_fold"),
        ("run --source soundscapes:9 --work w --epochs 3", "--recipe.train.epochs"),
        ("build --source soundscapes:9 --output s", "--out"),
        ("predict a.wav --model m", "--run"),
    ],
)
def test_an_option_by_its_name_elsewhere_is_answered_with_ours(
    line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line.split()) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_command_alone_asks_for_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train"]) == 2
    assert "required: system, out" in capsys.readouterr().err
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"audio-tokens {version('audio-tokens')}\n"


def test_progress_is_shown_where_asked_and_a_quiet_command_says_results_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tests' own output is no terminal."""
    build = f"build --source soundscapes:20,clip_s=1 --workers 1 --out {tmp_path}/s"
    train = f"train --shards {tmp_path}/s --system raw-linear --options.width 8 --out {tmp_path}"
    assert cli.main(build.split()) == 0
    assert cli.main(f"{train}/a --options.epochs 2".split()) == 0
    out, err = capsys.readouterr()
    assert "tasks to do" in out
    assert "mAP" in out
    assert err == ""
    assert cli.main(f"{train}/b --options.epochs 2 --quiet".split()) == 0
    assert capsys.readouterr() == ("", "")
    assert cli.main(f"{train}/c --options.epochs 2 --verbose".split()) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("train: choose epoch 1 of 2: loss ")
    assert first.endswith(" left")
    assert second.startswith("train: choose epoch 2 of 2: loss ")
    assert "val mAP" in second
    assert cli.main(f"describe {tmp_path}/c --quiet".split()) == 0
    assert "a run of raw-linear" in capsys.readouterr().out


def test_a_bar_never_runs_backwards() -> None:
    """A task that is tried again tells fewer clips than before."""
    seen = []
    with as_loud_as(["--verbose"]), ClipBar([Task(name="a", work=(), clips=10)], "build") as bar:
        for clips in (4, 7, 3, 5, 8, 10):
            bar.show(TaskCounts(clips=clips, rejected=0))
            seen.append(bar._bar.n)
    assert seen == [4, 7, 7, 7, 8, 10]


def test_a_long_epoch_has_a_bar_that_begins_where_the_epoch_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for loudness, shown in (("--verbose", True), ("--quiet", False)):
        for short_s in (0.0, 60.0):
            monkeypatch.setattr(progress, "SHORT_S", short_s)
            with as_loud_as([loudness]):
                assert list(step_bar("train", iter("de"), "choose epoch 2", 3, 5)) == ["d", "e"]
            err = capsys.readouterr().err
            assert ("train: choose epoch 2:  60%" in err and "3/5" in err) == (shown and not short_s)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("audio-tokens des", {"describe "}),
        ("audio-tokens train --system token-bert --options.lay", {"--options.layers", "--options.layer_decay"}),
        ("audio-tokens evaluate --spl", {"--split "}),
    ],
)
def test_a_shell_completes_commands_and_the_options_of_a_system(line: str, wanted: set[str], tmp_path: Path) -> None:
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "completions"),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
        "PYTHONPATH": str(ROOT),
    }
    words = [sys.executable, "-m", "audio_tokens.jobs.cli"]
    done = subprocess.run(words, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert set((tmp_path / "completions").read_text().split("\n")) == wanted
