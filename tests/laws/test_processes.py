"""Two processes equal one: same losses, same figures, and a run that one of them resumes after a signal."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from audio_tokens.jobs import cli
from tests.laws import loss_trace

ROOT = Path(__file__).parents[2]
PATIENCE_S = 1000  # a launch takes 15 s where nobody else is at work
pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
OPTIONS = "--options.dropout 0 --options.epochs 2 --options.precision fp32 --options.batch_clips 16 --seed 4"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens of a few soundscapes, and the shards beside them."""
    work = tmp_path_factory.mktemp("processes")
    for words in (
        f"build --source soundscapes:130,clip_s=2 --out {work}/shards --workers 1",
        f"cluster --shards {work}/shards --out {work}/codebook --recipe seed --recipe.kmeans.clusters 64",
        f"encode --shards {work}/shards --codebook {work}/codebook --out {work}/tokens.zarr --workers 1",
    ):
        assert cli.main(words.split()) == 0, words
    return work


def launched(processes: int, *words: str) -> subprocess.Popen[str]:
    """Start a job under `accelerate launch`; `--multi_gpu` is what starts several processes on a CPU, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["--multi_gpu", "--num_processes", str(processes), "--main_process_port", str(port)]
    return subprocess.Popen(
        [sys.executable, "-m", "accelerate.commands.launch", *(launch if processes > 1 else []), *words],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
@pytest.mark.parametrize("system", ["token-linear", "hybrid-bert"])
def test_two_processes_give_the_losses_and_figures_of_one(system: str, tokens: Path, tmp_path: Path) -> None:
    words = f"--tokens {tokens}/tokens.zarr --system {system} {OPTIONS}"
    words += f" --shards {tokens}/shards --options.width 16" if system == "hybrid-bert" else ""
    assert cli.main(f"train {words} --out {tmp_path}/one".split()) == 0
    two = launched(2, "jobs/train.py", *words.split(), "--out", str(tmp_path / "two"))
    output = two.communicate(timeout=PATIENCE_S)[0]
    assert two.returncode == 0, output[-3000:]
    for one_row, two_row in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert (one_row.pop("world"), two_row.pop("world")) == ("1", "2")
        for name in ("epoch", "step", "clips", "val_accuracy"):
            assert one_row[name] == two_row[name]
        for name in ("train_loss", "val_loss", "val_mAP", "val_mAUC", "learning_rate"):
            assert float(one_row[name]) == pytest.approx(float(two_row[name]), rel=1e-4), name
    one_result, two_result = (json.loads((tmp_path / run / "result.json").read_text()) for run in ("one", "two"))
    assert one_result["mAP"] == pytest.approx(two_result["mAP"], abs=1e-6)
    assert one_result["clips_eval"] == two_result["clips_eval"] > 0


@pytest.mark.parametrize("drawn", ["weighted", pytest.param("uniform", marks=pytest.mark.long)])
def test_fifty_steps_on_two_processes_lose_what_they_lose_on_one(drawn: str, tokens: Path, tmp_path: Path) -> None:
    """Step by step, at one global batch of 16 clips (8 in an epoch's last) and no dropout.

    `weighted` draws clips with replacement and sorts them into buckets by length; a rank that drew for itself would
    meet other clips.
    """
    options = {"epochs": 8, "batch_clips": 16, "precision": "fp32", "sampling": drawn, "bucketing": drawn == "weighted"}
    words = {
        world: [f"{tokens}/tokens.zarr", str(tmp_path / str(world)), "50", json.dumps(options)] for world in (1, 2)
    }
    for world in words:
        (tmp_path / str(world)).mkdir()
    two = launched(2, "tests/laws/loss_trace.py", *words[2])
    loss_trace.main(*words[1])
    output = two.communicate(timeout=PATIENCE_S)[0]
    assert two.returncode == 0, output[-3000:]
    traces = []
    for world in words:
        ranks = [json.loads((tmp_path / str(world) / f"trace-{rank}.json").read_text()) for rank in range(world)]
        totals = [[sum(values) for values in zip(*step, strict=True)] for step in zip(*ranks, strict=True)]
        assert [clips for _, clips in totals] == ([16] * 6 + [8]) * 7 + [16]
        traces.append([loss / clips for loss, clips in totals])
    assert len(traces[0]) == 50
    assert traces[0][0] > 1.2 * traces[0][-1], "it learns meanwhile"
    assert traces[0] == pytest.approx(traces[1], abs=1e-4)


@pytest.mark.long
def test_evaluation_is_the_same_to_the_last_digit(tokens: Path, tmp_path: Path) -> None:
    """117 clips and more in batches of 64: the two processes score uneven numbers of them."""
    words = f"--tokens {tokens}/tokens.zarr --system token-bert --options.epochs 1 --options.width 16"
    assert cli.main(f"train {words} --out {tmp_path}/run".split()) == 0
    found = []
    for processes in (1, 2):
        job = launched(processes, "jobs/evaluate.py", "--run", str(tmp_path / "run"), "--split", "train")
        output = job.communicate(timeout=PATIENCE_S)[0]
        assert job.returncode == 0, output[-3000:]
        found.append((tmp_path / "run" / "evaluation-train.json").read_bytes())
        (tmp_path / "run" / "evaluation-train.json").unlink()
    assert found[0] == found[1]
    assert json.loads(found[0])["clips"] > 64


LONGER = f"--system token-lstm --options.width 16 {OPTIONS} --options.epochs 12 --options.checkpoint_steps 2"


@pytest.fixture(scope="module")
def never_stopped(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a training on two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    job = launched(2, "jobs/train.py", "--tokens", f"{tokens}/tokens.zarr", *LONGER.split(), "--out", str(out))
    output = job.communicate(timeout=PATIENCE_S)[0]
    assert job.returncode == 0, output[-3000:]
    return out / "model" / "model.safetensors"


@pytest.mark.long
@pytest.mark.parametrize("resumed_with", [1, 2])
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_in_mid_epoch_it_ends_in_the_same_weights(
    signal_number: int, resumed_with: int, tokens: Path, never_stopped: Path, tmp_path: Path
) -> None:
    """To the last bit on two processes again; the global order of clips is also the one that a single one goes on with.

    SIGTERM goes to the launcher, SIGKILL to one of the two ranks.
    """
    out = tmp_path / "parts"
    words = ["jobs/train.py", "--tokens", f"{tokens}/tokens.zarr", *LONGER.split(), "--out", str(out)]
    first = launched(2, *words)
    wait_for(lambda: (out / "metrics.csv").exists() and steps_done(out) > 7, first)  # a state of the second epoch
    if signal_number == signal.SIGTERM:
        first.send_signal(signal.SIGTERM)
    else:
        os.kill(a_rank_of(first.pid), signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    assert first.returncode != 0
    assert not (out / "result.json").exists()
    assert 7 < steps_done(out) < 84
    again = launched(resumed_with, *words)
    output = again.communicate(timeout=PATIENCE_S)[0]
    assert again.returncode == 0, output[-3000:]
    theirs = load_file(out / "model" / "model.safetensors")
    for name, value in load_file(never_stopped).items():
        # sums over two processes round otherwise than those of one, up to 77 steps long
        assert abs(theirs[name] - value).max() <= (0 if resumed_with == 2 else 2e-3), name


@pytest.mark.long
def test_sigterm_saves_and_exits_with_143(tokens: Path, tmp_path: Path) -> None:
    words = f"--tokens {tokens}/tokens.zarr --system token-lstm --options.width 16 {OPTIONS} --options.epochs 400"
    command = [sys.executable, "-m", "audio_tokens.jobs.train", *words.split(), "--out", str(tmp_path / "run")]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for((tmp_path / "run" / "metrics.csv").exists, job)
    job.send_signal(signal.SIGTERM)
    output = job.communicate(timeout=PATIENCE_S)[0]
    assert job.returncode == 143, output[-3000:]
    assert "the same command resumes" in output
    assert (tmp_path / "run" / "checkpoints" / "choose" / "last.safetensors").is_file()


def steps_done(run: Path) -> int:
    """Return how many steps the last state of a run has taken."""
    with safe_open(run / "checkpoints" / "choose" / "last.safetensors", framework="np") as file:
        return json.loads(file.metadata()["state"])["step"]


def wait_for(holds: Callable[[], bool], job: subprocess.Popen[str]) -> None:
    """Wait until something holds, while the job lives."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert job.poll() is None, job.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def a_rank_of(launcher: int) -> int:
    """Return a child process of the launcher."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    assert children
    return int(children[-1])
