"""A set of tasks run by a command: where it runs, what is said of it, and the exit code."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from audio_tokens.engine.ranges import Range, check
from audio_tokens.engine.sound.longest_clip import LONGEST_S, LongestSeconds
from audio_tokens.errors import UserError, masked
from audio_tokens.jobs.display.loudness import say

if TYPE_CHECKING:
    from audio_tokens.shards.sources.registry import Task
    from audio_tokens.shards.tasks.task_set import TaskSet
    from audio_tokens.shards.workers.retry import Executor


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Where the tasks of a command run.

    Args:
        workers: processes; all cores unless given
        dask: the address of a Dask scheduler (tcp://...), whose workers take the place of local ones
        task_index: this job's number in a job array, from 0
        task_count: jobs in the array; the one that finishes last commits the result
        clip_timeout_s: a clip that takes longer to decode is rejected; of a long one, every 100 s of its sound
        longest_clip_s: a clip with more seconds of sound is rejected; its mel is held in memory, 40 MB an hour for
            mel22k and 185 MB for ast16k, and for views its wave, some 5 GB an hour at 48 kHz
        skip_failed: go on without what cannot be read of an input after three tries: a torn tar, an unreachable shard;
            what lies before it is kept, and the result names what is missing
        force: make it again, and replace what another source or configuration left there (in an array this alone)
        allow: schemes of addresses that may be read besides file, http(s), s3, gs and hf, e.g. ftp,zip
    """

    workers: int | None = None
    dask: str | None = None
    task_index: int = 0
    task_count: int = 1
    clip_timeout_s: Annotated[float, Range(0.01, 86_400)] = 60.0
    longest_clip_s: LongestSeconds = LONGEST_S
    skip_failed: bool = False
    force: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: it must be above 0")
        if not 0 <= self.task_index < self.task_count:
            raise UserError(f"task_index {self.task_index} is not in 0..{self.task_count - 1} (task_count - 1)")
        check(self)

    @property
    def beside_defaults(self) -> list[float]:
        """What of these options decides the result, where it is not the default."""
        return [] if self.longest_clip_s == LONGEST_S else [self.longest_clip_s]

    @property
    def processes(self) -> int:
        return self.workers or os.cpu_count() or 1

    def pool(self, most: int, folder: Path) -> "AbstractContextManager[Executor]":
        """Return where the tasks run: the cluster, if its workers see `folder`, or processes here.

        There are at most `most` of these; for 0, this process.
        """
        from audio_tokens.shards.workers.dask_pool import dask_pool
        from audio_tokens.shards.workers.local_pool import local_pool
        from audio_tokens.shards.workers.this_process import ThisProcess

        if self.dask is not None:
            return dask_pool(self.dask, folder)
        return local_pool(min(self.processes, most)) if most else nullcontext(ThisProcess())


def run_set(
    options: TaskOptions,
    tasks: "TaskSet",
    listed: "list[tuple[int, Task]]",
    *,
    title: str,
    way: str,
    out: str,
    most_processes: "Callable[[list[Task]], int]" = len,
    told: Callable[[], str],
) -> int:
    """Run the numbered tasks, or this job's part of them, and commit. Returns 0, or 1 when tasks failed.

    `way` names the source and the result; `most_processes` tells of the tasks to do how many processes they are worth,
    and `told` what there is, once it is committed.
    """
    from audio_tokens.jobs.display.progress import ClipBar
    from audio_tokens.shards.tasks.commit import commit
    from audio_tokens.shards.tasks.run_tasks import run_tasks
    from audio_tokens.shards.tasks.task_folder import OtherContentError, is_recorded, prepare, with_kept_numbers
    from audio_tokens.shards.tasks.task_set import TASKS

    listed = with_kept_numbers(tasks, listed)
    try:
        alone = options.task_count == 1  # a job of an array would make again what the others have just finished
        complete = prepare(tasks, listed, force=options.force, again=options.force and alone)
    except OtherContentError as error:
        raise UserError(f"{error}; --force replaces it") from None
    if complete:
        say(f"{title}: {out} is complete already")
        return 0
    mine = listed[options.task_index :: options.task_count]
    todo = [(index, task) for index, task in mine if not is_recorded(tasks, index, whole=not options.skip_failed)]
    say(f"{title}: {masked(way)}: {len(todo)} of {len(mine)} tasks to do")
    if todo:
        work = [task for _, task in todo]
        with options.pool(most_processes(work), tasks.folder / TASKS) as executor, ClipBar(work, title) as bar:
            failures = run_tasks(executor, tasks, todo, bar.show)
            if options.skip_failed:
                failures = run_tasks(executor, tasks, [(*failure.call, failure.reason) for failure in failures])
        for failure in failures:
            print(
                f"{title}: task {failure.call[1].name!r} failed three times: {masked(failure.reason)}", file=sys.stderr
            )
        if failures:
            ways = "the same command tries them again, and with --skip-failed leaves out what cannot be read"
            print(f"{title}: {len(failures)} tasks failed; {ways}", file=sys.stderr)
            return 1
    committed = commit(tasks, [number for number, _ in listed])
    say(f"{title}: {told() if committed else 'this part is done; the job that finishes last commits the result'}")
    return 0
