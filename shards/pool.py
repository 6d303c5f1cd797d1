"""The processes of this machine as an executor, and the tasks of a build on any executor."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from shards.apart import portable
from shards.calls import Call, Executor, Failure, call_all
from shards.journal import in_hand, suspects
from shards.publish import is_full, no_room
from shards.sources import Task
from shards.tasks import Job, TaskCounts, run_task


@contextmanager
def local_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of `workers` processes on this machine.

    pebble's pool replaces a worker that died and fails only its task; a ProcessPoolExecutor would break as a whole.
    Workers come from a fork server: they hold nothing of this process, and start in a fraction of a second.
    """
    from pebble import ProcessPool

    class LocalPool:
        slots = workers

        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
            return pool.schedule(_answer, args=(function, *arguments))

    pool = ProcessPool(max_workers=workers, context=multiprocessing.get_context("forkserver"))
    try:
        yield LocalPool()
    except BaseException:
        pool.stop()
        raise
    else:
        pool.close()
    finally:
        pool.join()


def _answer(function: Callable[..., Any], /, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise portable(error) from None


def run_tasks(
    executor: Executor,
    job: Job,
    tasks: Sequence[tuple[int, Task]],
    on_progress: Callable[[TaskCounts], None] = lambda counts: None,
) -> list[Failure]:
    """Run `tasks` (index, task) and return those that failed three times; the rest goes on.

    A worker's death is not the task's failure where the journal names a new suspect: the clip then pays, next time.
    `on_progress` is told, twice a second, what is done so far: finished tasks and the clips behind the running ones.

    Raises ShardsError at once where the disk is full or the user made a mistake: no retry would help.
    """
    suspected = {index: len(suspects(job.journal_file(index))) for index, _ in tasks}
    finished = TaskCounts(0, 0)

    def finish(counts: TaskCounts) -> None:
        nonlocal finished
        finished += counts

    def names_a_suspect(call: Call) -> bool:
        index, _ = call
        before, suspected[index] = suspected[index], len(suspects(job.journal_file(index)))
        return suspected[index] > before

    def poll(running: list[Call]) -> None:
        behind = sum(in_hand(job.journal_file(index)) for index, _ in running)
        on_progress(finished + TaskCounts(behind, 0))

    try:
        return call_all(executor, partial(run_task, job), tasks, finish, forgive=names_a_suspect, on_poll=poll)
    except OSError as error:
        if is_full(error):
            raise no_room(job.folder) from None
        raise
