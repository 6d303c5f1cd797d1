"""One task, from the clips of one input file to shards and a record, in whatever process it is handed to.

Until the data set is committed, `.tasks/` beside the shards holds `build.json` (what is being built) and per task
`000012.journal` (the clip in hand) or `000012.json`, the record: written last, atomically, so that a task is either
finished or will be done again with the same bytes.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from audio_tokens.errors import ClipError
from audio_tokens.shards.publish import publish_bytes
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import Source, Task
from audio_tokens.shards.tasks.journal import Journal
from audio_tokens.shards.tasks.quarantine import Transform, transform_apart
from audio_tokens.shards.tasks.task_shards import ShardConfig, TaskShards
from audio_tokens.shards.workers.time_limit import time_limit

TASKS, RECORD = ".tasks", ".json"
# A file that is listed but cannot be had is the clip's fault; any other failure to read (network, disk) is the task's.
UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
# What a file system without locks on folders answers.
NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOTSUP)
# Reading ahead (a row group over a network) may take longer than decoding a clip.
READING_SHARE = 10


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker must know; sent with every task, so it holds no listing.

    Args:
        folder: where the shards go
        source: yields the clips of a task
        transform: turns a clip into (array_TF, seconds decoded); raises ClipError with the reason for a reject
        config: what the shards look like
        clip_timeout_s: a clip that takes longer is rejected
        settings: digest of all that decides the bytes beside the listing
        fingerprint: of everything that decides the bytes; a worker of another build must not write here
    """

    folder: Path
    source: Source
    transform: Transform
    config: ShardConfig
    clip_timeout_s: float
    settings: str
    fingerprint: str

    def record_file(self, index: int) -> Path:
        return self.folder / TASKS / f"{index:06d}{RECORD}"

    def journal_file(self, index: int) -> Path:
        return self.folder / TASKS / f"{index:06d}.journal"


class TaskCounts(NamedTuple):
    """Clips read, and how many of them were rejected."""

    clips: int
    rejected: int

    def __add__(self, other: "TaskCounts") -> "TaskCounts":  # type: ignore[override]
        return TaskCounts(self.clips + other.clips, self.rejected + other.rejected)


def run_task(job: Job, index: int, task: Task) -> TaskCounts:
    """Build the shards of task `index` and publish its record; nothing to do where a record lies already.

    Raises UserError for a user's mistake, and whatever reading and writing raise; nothing is then left half-written.
    """
    # One thread a worker: the pool has a worker per core, and a second thread each only gets in the way.
    with locked(job.folder, fcntl.LOCK_SH), threadpool_limits(1):
        if read_fingerprint(job.folder) != job.fingerprint or job.record_file(index).exists():
            return TaskCounts(0, 0)  # an orphan of a killed build, late for its own funeral; or a task handed out twice
        label_ids = {label: number for number, label in enumerate(job.source.labels)}
        rejects: list[tuple[str, str]] = []
        with Journal(job.journal_file(index)) as journal, TaskShards(job.folder, index, job.config) as shards:
            seen = 0
            for ordinal, item in enumerate(_reading(job, task)):
                seen += 1
                if isinstance(item, Reject):
                    rejects.append((item.source_id, item.reason))
                    continue
                try:
                    with journal.holding(ordinal) as suspected:
                        array_TF, seconds = _transform(job, item, suspected)
                    shards.add(item, array_TF, seconds, label_ids)
                except ClipError as error:
                    rejects.append((item.source_id, str(error)))
            if task.promised_clips not in (None, seen):
                raise OSError(f"{task.name}: {seen} clips were read and {task.promised_clips} are listed")
            record = {"task": digest_of(task), "clips_in": seen, "rejects": rejects, **shards.finish()}
            assert seen == len(rejects) + sum(shard["clips"] for shard in record["shards"])
            publish_bytes(job.record_file(index), json.dumps(record).encode())
            return TaskCounts(seen, len(rejects))


def begin(job: Job) -> None:
    """Say what is being built in the folder of `job`."""
    said = {"settings": job.settings, "fingerprint": job.fingerprint}
    publish_bytes(job.folder / TASKS / "build.json", json.dumps(said).encode())


def read_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of the build that is under way in `folder`, if there is one; "" for a damaged one."""
    return _said(folder, "fingerprint")


def read_settings(folder: Path) -> str | None:
    """Return the settings' digest of the build that is under way in `folder`, as `read_fingerprint` does."""
    return _said(folder, "settings")


def settings_digest(producer: Any, config: ShardConfig, labels: tuple[str, ...]) -> str:
    """Return the sha256 of all that decides the bytes of a data set beside the listing: who produces what."""
    return hashlib.sha256(json.dumps([producer, asdict(config), labels], sort_keys=True).encode()).hexdigest()


def fingerprint(settings: str, tasks: Iterable[Task]) -> str:
    """Return the sha256 of everything that decides the bytes of a data set: the settings and the listing."""
    digest = hashlib.sha256(settings.encode())
    for task in tasks:  # one at a time: a listing may be long
        digest.update(digest_of(task).encode())
    return digest.hexdigest()


def digest_of(task: Task) -> str:
    """Return the sha256 of all that a task is."""
    return hashlib.sha256(json.dumps(astuple(task)).encode()).hexdigest()


@contextmanager
def locked(folder: Path, kind: int) -> Iterator[bool]:
    """Hold the folder's lock: shared while a task works in it, exclusive while it is committed or wiped.

    Yields whether it is held: with LOCK_NB it is not where someone else holds it.

    Some network file systems have no such lock. Then a worker that outlives its killed job may leave a stray file
    behind; the shards are the same either way.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            held = False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield held
    finally:
        os.close(descriptor)


def _said(folder: Path, key: str) -> str | None:
    try:
        return json.loads((folder / TASKS / "build.json").read_bytes())[key]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return ""


def _reading(job: Job, task: Task) -> Iterator[Clip | Reject]:
    clips = islice(job.source.clips(task), task.limit)
    while True:
        with time_limit(job.clip_timeout_s * READING_SHARE):
            item = next(clips, None)
        if item is None:
            return
        yield item


def _transform(job: Job, clip: Clip, suspected: bool) -> tuple[np.ndarray, float]:
    try:
        if suspected:
            return transform_apart(job.transform, clip, job.clip_timeout_s)
        with time_limit(job.clip_timeout_s):
            return job.transform(clip)
    except UNREADABLE as error:
        raise ClipError((error.strerror or str(error)).lower()) from None
