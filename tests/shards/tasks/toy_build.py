"""A source of small waves with chosen accidents, a transform that suffers them, and a build of both.

Workers import this module, so nothing here may be local to a test.
"""

import errno
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import audio_tokens.shards.publish
from audio_tokens.errors import ClipError
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import Task, numbered
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.run_tasks import run_tasks
from audio_tokens.shards.tasks.shard_maker import ShardMaker
from audio_tokens.shards.tasks.task_folder import is_recorded, prepare
from audio_tokens.shards.tasks.task_set import TaskSet, fingerprint
from audio_tokens.shards.tasks.task_shards import ShardConfig
from audio_tokens.shards.workers.local_pool import local_pool
from audio_tokens.shards.workers.retry import Failure

PLACES = ("train", "train", "train", "val", "test")


@dataclass(frozen=True)
class ToySource:
    """`tasks_count` tasks of `task_clips` clips; `keys` clips have distinct keys, then they begin again.

    Reading on at the clips of these numbers fails (`torn`) or ends the process (`deadly`).
    """

    tasks_count: int = 4
    task_clips: int = 12
    keys: int = 10**9
    labels: tuple[str, ...] = ("one", "two", "three")
    torn: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    counted: bool = True

    def tasks(self) -> list[Task]:
        starts = range(0, self.tasks_count * self.task_clips, self.task_clips)
        clips = self.task_clips if self.counted else None
        return [Task(name=f"from {start}", work=start, clips=clips) for start in starts]

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        for number in range(task.work, task.work + self.task_clips):
            if number in self.torn:
                raise OSError("torn here")
            if number in self.deadly:
                os._exit(3)
            if number % 11 == 7:
                yield Reject(f"clip {number}", "listed as broken")
                continue
            rng = np.random.default_rng(number)
            yield Clip(
                key=f"-k{number % self.keys}",
                labels=tuple(self.labels[i] for i in sorted({number % 3, number % 2})),
                place=PLACES[number % len(PLACES)],
                group=f"group {number // 2}",
                source_id=f"clip {number}",
                wave_S=rng.standard_normal(int(rng.integers(40, 400)), dtype=np.float32),
                rate_hz=8000,
            )


@dataclass(frozen=True)
class ToyTransform:
    """Cut a wave into frames of 8; the clips named suffer what is named.

    `once` is a folder of flags: an accident whose flag is there does not happen again (a kill from outside).
    """

    segfault: tuple[str, ...] = ()
    hang: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    fail: tuple[str, ...] = ()
    killed: tuple[str, ...] = ()
    caller_killed: tuple[str, ...] = ()
    full_disk: tuple[str, ...] = ()
    once: Path | None = None
    sleep_s: float = 0.0

    def __call__(self, clip: Clip) -> tuple[np.ndarray, float]:
        time.sleep(self.sleep_s)
        if clip.key in self.segfault:
            os.kill(os.getpid(), signal.SIGSEGV)
        if clip.key in self.hang:
            time.sleep(1000)
        if clip.key in self.leave:
            os._exit(3)
        if clip.key in self.bad:
            raise ClipError("sounds bad")
        if clip.key in self.fail and self._first(clip.key):
            raise RuntimeError("a bug")
        if clip.key in self.full_disk and self._first(clip.key):
            audio_tokens.shards.publish._sync = _no_space  # this worker's file system is full from now on
        if clip.key in self.killed and self._first(clip.key):
            os.kill(os.getpid(), signal.SIGKILL)
        if clip.key in self.caller_killed and self._first(clip.key):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(1000)  # this process dies with its caller
        assert clip.wave_S is not None
        frames = len(clip.wave_S) // 8
        return clip.wave_S[: frames * 8].reshape(frames, 8), len(clip.wave_S) / 8000

    def _first(self, key: str) -> bool:
        if self.once is None:
            return True
        flag = self.once / key
        first = not flag.exists()
        flag.touch()
        return first


def _no_space(path: Path, mode: int | None = None) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def toy_tasks(
    folder: Path,
    source: ToySource | None = None,
    transform: ToyTransform | None = None,
    config: ShardConfig | None = None,
    clip_timeout_s: float = 30.0,
) -> TaskSet:
    source, config = source or ToySource(), config or ShardConfig(shard_clips=5)
    settings = f"{config} {source.labels}"
    maker = ShardMaker(to_mel=transform or ToyTransform(), config=config, about={"source": "toy"}, producer={"toy": 1})
    return TaskSet(
        folder=folder,
        source=source,
        maker=maker,
        clip_timeout_s=clip_timeout_s,
        settings=settings,
        fingerprint=fingerprint(settings, source.tasks()),
    )


def listed(tasks: TaskSet) -> list[tuple[int, Task]]:
    """Return the numbered tasks of a set whose source is a toy."""
    assert isinstance(tasks.source, ToySource)
    return numbered(tasks.source.tasks())


def toy_build(tasks: TaskSet, workers: int = 2, *, force: bool = False, skip_failed: bool = False) -> list[Failure]:
    """Prepare, run, commit: what the command does, in small."""
    if prepare(tasks, listed(tasks), force=force):
        return []
    with local_pool(workers) as executor:
        todo = [call for call in listed(tasks) if not is_recorded(tasks, call[0], whole=not skip_failed)]
        failures = run_tasks(executor, tasks, todo)
        if skip_failed:
            failures = run_tasks(executor, tasks, [(*failure.call, failure.reason) for failure in failures])
    if not failures:
        assert commit(tasks, range(len(listed(tasks))))
    return failures


def contents(folder: Path) -> dict[str, str]:
    """Return every file below `folder` with its sha256."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
