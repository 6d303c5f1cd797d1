"""Start a command of tasks, kill it with SIGKILL when its journals say it is so far, and see that it was alive."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from audio_tokens.shards.dataset.manifest import MANIFEST
from audio_tokens.shards.tasks.journal import in_hand
from audio_tokens.shards.tasks.task_set import TASKS


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "audio_tokens.jobs.cli", *words]


def progress(folder: Path, task_clips: int) -> int:
    """Return how many clips are behind the tasks of a folder: finished ones in full, running ones by their journals."""
    tasks = folder / TASKS
    names = list(tasks.glob("*")) if tasks.is_dir() else []
    done = sum(task_clips for path in names if path.suffix == ".json" and path.stem != "build")
    return done + sum(in_hand(path) for path in names if path.suffix == ".journal")


def kill_at(words: list[str], folder: Path, task_clips: int, clips: int, *, with_workers: bool) -> int:
    """Run `words`, kill it once it is `clips` further; return the progress seen at the kill.

    `with_workers` kills the workers in the same moment (a machine that goes down), else they are orphaned.
    """
    start = progress(folder, task_clips)
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while (seen := progress(folder, task_clips)) < start + clips:
            assert process.poll() is None, f"ended before its kill: {process.stderr.read().decode()}"  # type: ignore[union-attr]
            time.sleep(0.002)
        if with_workers:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not (folder / MANIFEST).exists()
        return seen
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen) -> None:
    """An orphan ends by itself when its task is done: give it the time."""
    process.stderr.close()  # type: ignore[union-attr]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("a worker outlived its killed job by a minute")


def kill_many(words: list[str], folder: Path, task_clips: int, kills: int, most_clips: int, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(kills):
        kill_at(words, folder, task_clips, rng.randint(1, most_clips), with_workers=number % 2 == 0)
    subprocess.run(words, check=True, capture_output=True)
