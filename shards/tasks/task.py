"""One task, from the clips of one input file to what is made of them and a record, in whatever process it is handed to.

The record is written last, atomically, so that a task is either finished or will be done again with the same result.
"""

import fcntl
import json
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from audio_tokens.errors import ClipError
from audio_tokens.shards.publish import publish_bytes
from audio_tokens.shards.sources.clip import Reject
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.clip_step import make_clip
from audio_tokens.shards.tasks.journal import Journal
from audio_tokens.shards.tasks.task_folder import locked, read_fingerprint
from audio_tokens.shards.tasks.task_set import Done, Listed, TaskSet, digest_of
from audio_tokens.shards.workers.time_limit import time_limit

DUPLICATE = "duplicate key: an earlier clip has it"
# Reading ahead (a row group over a network) may take longer than decoding a clip.
READING_SHARE = 10


class TaskCounts(NamedTuple):
    """Clips read, and how many of them were rejected."""

    clips: int
    rejected: int

    def __add__(self, other: "TaskCounts") -> "TaskCounts":  # type: ignore[override]
        return TaskCounts(self.clips + other.clips, self.rejected + other.rejected)


def run_task(tasks: TaskSet, index: int, task: Task) -> TaskCounts:
    """Make what task `index` is to make and publish its record; nothing to do where a record lies already.

    Raises UserError for a user's mistake, and whatever reading and writing raise; nothing is then left half-written.
    """
    # One thread a worker: the pool has a worker per core, and a second thread each only gets in the way.
    with locked(tasks.folder, fcntl.LOCK_SH), threadpool_limits(1):
        if read_fingerprint(tasks.folder) != tasks.fingerprint or tasks.record_file(index).exists():
            return TaskCounts(0, 0)  # this worker outlived its command, or the task was handed out twice
        label_ids = {label: number for number, label in enumerate(tasks.source.labels)}
        rejects: list[tuple[str, str]] = []
        done: dict[str, Done] = {}
        before: dict[str, Listed] = {}
        with Journal(tasks.journal_file(index)) as journal, tasks.maker.open(tasks.folder, index, label_ids) as product:
            seen = 0
            for ordinal, clip in enumerate(_reading(tasks, task)):
                seen += 1
                if isinstance(clip, Reject):
                    rejects.append((clip.source_id, clip.reason))
                    continue
                try:
                    arguments = (clip, before.get(clip.place))
                    with journal.holding(ordinal) as suspected:
                        made = make_clip(tasks.maker.transform, arguments, tasks.clip_timeout_s, suspected=suspected)
                    for label in clip.labels:
                        if label not in label_ids:
                            raise ClipError(f"unknown label {label!r}")
                    if clip.key in done:  # the commit settles those of other tasks
                        raise ClipError(DUPLICATE)
                    product.add(clip, made)
                except ClipError as error:
                    rejects.append((clip.source_id, str(error)))
                else:
                    done[clip.key] = Done(clip.key, clip.place, clip.source_id)
                    before[clip.place] = clip
            if task.promised_clips not in (None, seen):
                raise OSError(f"{task.name}: {seen} clips were read and {task.promised_clips} are listed")
            assert seen == len(rejects) + len(done)
            record = {"task": digest_of(task), "clips_in": seen, "rejects": rejects, "clips": list(done.values())}
            publish_bytes(tasks.record_file(index), json.dumps(record | {"made": product.finish()}).encode())
            return TaskCounts(seen, len(rejects))


def _reading(tasks: TaskSet, task: Task) -> Iterator[Listed | Reject]:
    clips = islice(tasks.source.clips(task), task.limit)
    while True:
        with time_limit(tasks.clip_timeout_s * READING_SHARE):
            clip = next(clips, None)
        if clip is None:
            return
        yield clip
