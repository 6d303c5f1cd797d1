"""One task, from the clips of one input file to what is made of them and a record, in whatever process it is handed to.

The record is written last, atomically, so that a task is either finished or will be done again with the same result.

A task whose input cannot be read to its end fails. Given up, it is run once more: what can be read is kept, whatever is
known to be missing is a reject, and the record says so.
"""

import fcntl
from collections.abc import Iterator
from itertools import count, islice
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from audio_tokens.errors import ClipError, UserError
from audio_tokens.shards.publish import publish_bytes
from audio_tokens.shards.sources.clip import Reject
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.clip_step import make_clip
from audio_tokens.shards.tasks.journal import Journal
from audio_tokens.shards.tasks.task_folder import locked, read_fingerprint
from audio_tokens.shards.tasks.task_set import Done, Listed, TaskSet, digest_of, sealed
from audio_tokens.shards.workers.retry import reason_of
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


def run_task(tasks: TaskSet, index: int, task: Task, given_up: str = "") -> TaskCounts:
    """Make what task `index` is to make and publish its record; nothing to do where a record lies already.

    `given_up` is the reason why a task is not tried again: then what cannot be read is left out.
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
            reading = _Reading(tasks, task, journal, given_up)
            for ordinal, clip in enumerate(reading):
                seen += 1
                if isinstance(clip, Reject):
                    rejects.append((clip.source_id, clip.reason))
                    continue
                try:
                    arguments = (clip, before.get(clip.place))
                    with journal.holding(ordinal) as suspected:
                        made = reading.made(arguments, suspected)
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
            unread = reading.unread(seen)
            rejects += [(reject.source_id, reject.reason) for reject in unread]
            seen += len(unread)
            assert seen == len(rejects) + len(done)
            record = {"task": digest_of(task), "clips_in": seen, "rejects": rejects, "clips": list(done.values())}
            record |= {"left_out": reading.left_out(seen), "made": product.finish()}
            publish_bytes(tasks.record_file(index), sealed(record))
            return TaskCounts(seen, len(rejects))


class _Reading:
    """The clips of a task, each read and made within its time; of one given up, those before what cannot be read."""

    def __init__(self, tasks: TaskSet, task: Task, journal: Journal, given_up: str) -> None:
        self._tasks, self._task, self._journal, self._given_up = tasks, task, journal, given_up
        self._fault, self._faulty, self._ended = "", 0, True

    def __iter__(self) -> Iterator[Listed | Reject]:
        clips = islice(self._tasks.source.clips(self._task), self._task.limit)
        for ordinal in count():
            if self._given_up and ordinal == self._journal.readable_clips:
                self._fault, self._ended = self._given_up, False
                return
            try:
                with self._journal.reading(ordinal), time_limit(self._tasks.clip_timeout_s * READING_SHARE):
                    clip = next(clips, None)
            except Exception as error:
                self._forgive(error)
                self._ended = False
                return
            if clip is None:
                return
            yield clip

    def made(self, arguments: tuple[Any, ...], suspected: bool) -> Any:
        """Return what becomes of a clip. Raises ClipError for a reject, and of a task given up nothing else."""
        try:
            return make_clip(self._tasks.maker.transform, arguments, self._tasks.clip_timeout_s, suspected=suspected)
        except ClipError:
            raise
        except Exception as error:
            self._forgive(error)
            self._faulty += 1
            raise ClipError(reason_of(error)) from None

    def unread(self, seen: int) -> list[Reject]:
        """Return the clips that are listed and were not read. Raises OSError for other numbers unless given up."""
        promised, name = self._task.promised_clips, self._task.name
        if promised in (None, seen):
            return []
        self._forgive(OSError(f"{name}: {seen} clips were read and {promised} are listed"))
        self._ended = True  # what is missing is known
        missing = range(seen, promised)
        self._faulty += len(missing)
        return [Reject(f"{name}: clip {number + 1}", f"not read: {self._fault}") for number in missing]

    def left_out(self, seen: int) -> str:
        """Return what a task given up lacks, for the manifest; nothing where it lacks nothing."""
        if not self._fault:
            return ""
        rest = f"{self._faulty} not" if self._ended else "rest unknown"
        return f"{self._task.name}: {seen - self._faulty} read, {rest}: {self._fault}"

    def _forgive(self, error: Exception) -> None:
        """Take note of an error. Raises it where the task is not given up, or where it is a user's mistake."""
        if not self._given_up or isinstance(error, UserError):
            raise error
        self._fault = self._fault or reason_of(error)
