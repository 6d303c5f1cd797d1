"""A tracker that breaks is said in one line, and costs no training."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from audio_tokens.jobs import cli

TINY = "--options.epochs 2 --options.width 8 --options.batch_clips 8"


def words(command: str, artefacts: Path, run: Path) -> list[str]:
    system = {"train": "--system token-lstm", "pretrain": "--options.heads 2 --options.layers 1"}[command]
    return f"{command} --tokens {artefacts}/tokens.zarr --out {run} {system} {TINY}".split()


@pytest.mark.parametrize("command", ["train", "pretrain"])
@pytest.mark.parametrize("written", [1, 3])
def test_a_training_outlives_its_tracker(
    command: str,
    written: int,
    artefacts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """TensorBoard writes in a thread of its own, in which the disk becomes full after some events."""
    write, left = RecordWriter.write, [written]

    def full(writer: RecordWriter, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(writer, data)

    monkeypatch.setattr(RecordWriter, "write", full)
    assert cli.main(words(command, artefacts, tmp_path / "run")) == 0
    said = capfd.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "tracker" in line]
    assert line.startswith(f"warning: the tracker of {tmp_path / 'run'} failed (OSError: [Errno 28] No space left")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seed"] == 0
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3


def test_a_tracker_that_cannot_start_is_told_before_anything_is_learnt(
    artefacts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words("train", artefacts, tmp_path / "run")) == 0
    capfd.readouterr()
    (tmp_path / "run" / "result.json").unlink()
    folder = tmp_path / "run" / "audio-tokens"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert cli.main(words("train", artefacts, tmp_path / "run")) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "the tracker of" in said
    assert "choose another --tracker" in said
