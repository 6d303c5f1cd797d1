"""A set of tasks run by a command: where it runs, what is said of it, and the exit code."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from audio_tokens.errors import UserError, masked

if TYPE_CHECKING:
    from audio_tokens.shards.sources.registry import Task
    from audio_tokens.shards.tasks.task_set import TaskSet
    from audio_tokens.shards.workers.retry import Executor

CLIP_TIMEOUTS_S = (0.01, 86_400)


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Where the tasks of a command run.

    Args:
        workers: processes; all cores unless given
        dask: the address of a Dask scheduler (tcp://...), whose workers take the place of local ones
        task_index: this job's number in a job array, from 0
        task_count: jobs in the array; the one that finishes last commits the result
        clip_timeout_s: a clip that takes longer to decode is rejected
        force: replace what another source or configuration left there
        allow: schemes of addresses that may be read besides file, http(s), s3, gs and hf, e.g. ftp,zip
    """

    workers: int | None = None
    dask: str | None = None
    task_index: int = 0
    task_count: int = 1
    clip_timeout_s: float = 60.0
    force: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"--workers {self.workers}: it must be above 0")
        if not 0 <= self.task_index < self.task_count:
            raise UserError(f"task_index {self.task_index} is not in 0..{self.task_count - 1} (task_count - 1)")
        if not CLIP_TIMEOUTS_S[0] <= self.clip_timeout_s <= CLIP_TIMEOUTS_S[1]:
            raise UserError(
                f"--clip_timeout_s {self.clip_timeout_s:g}: it must lie between {CLIP_TIMEOUTS_S[0]} and "
                f"{CLIP_TIMEOUTS_S[1]} seconds"
            )

    @property
    def processes(self) -> int:
        return self.workers or os.cpu_count() or 1

    def pool(self, most: int) -> "AbstractContextManager[Executor]":
        """Return where the tasks run: the cluster, at most `most` processes, or for 0 of them this process."""
        from audio_tokens.shards.workers.dask_pool import dask_pool
        from audio_tokens.shards.workers.local_pool import local_pool
        from audio_tokens.shards.workers.this_process import ThisProcess

        if self.dask is not None:
            return dask_pool(self.dask)
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
    say: Callable[[], str],
) -> int:
    """Run the numbered tasks, or this job's part of them, and commit. Returns 0, or 1 when tasks failed.

    `way` names the source and the result; `most_processes` tells of the tasks to do how many processes they are worth,
    and `say` what there is, once it is committed.
    """
    from audio_tokens.jobs.display.progress import ClipBar
    from audio_tokens.shards.tasks.commit import commit
    from audio_tokens.shards.tasks.run_tasks import run_tasks
    from audio_tokens.shards.tasks.task_folder import OtherContentError, is_recorded, prepare, with_kept_numbers

    listed = with_kept_numbers(tasks, listed)
    try:
        complete = prepare(tasks, listed, force=options.force)
    except OtherContentError as error:
        raise UserError(f"{error}; --force replaces it") from None
    if complete:
        print(f"{title}: {out} is complete already")
        return 0
    mine = listed[options.task_index :: options.task_count]
    todo = [(index, task) for index, task in mine if not is_recorded(tasks, index)]
    print(f"{title}: {masked(way)}: {len(todo)} of {len(mine)} tasks to do")
    if todo:
        work = [task for _, task in todo]
        with options.pool(most_processes(work)) as executor, ClipBar(work, title) as bar:
            failures = run_tasks(executor, tasks, todo, bar.show)
        for failure in failures:
            print(
                f"{title}: task {failure.call[1].name!r} failed three times: {masked(failure.reason)}", file=sys.stderr
            )
        if failures:
            print(f"{title}: {len(failures)} tasks failed; the same command tries them again", file=sys.stderr)
            return 1
    committed = commit(tasks, [number for number, _ in listed])
    print(f"{title}: {say() if committed else 'this part is done; the job that finishes last commits the result'}")
    return 0
