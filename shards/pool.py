"""Hand tasks to processes until all are done, and survive the death of any of them.

An executor is anything with `submit` that returns futures: the local pool below, or a Dask cluster.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from shards.errors import ShardsError
from shards.journal import in_hand, suspects
from shards.publish import is_full, no_room
from shards.sources import Task
from shards.tasks import Job, TaskCounts, run_task

RETRIES = 2
POLL_S = 0.5


@runtime_checkable
class Executor(Protocol):
    """`slots` tasks run at a time; a future whose worker died holds an exception."""

    slots: int

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future: ...


@dataclass(frozen=True)
class Failure:
    """A task that was given up."""

    task: Task
    reason: str


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
            return pool.schedule(function, args=arguments)

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
    waiting, finished = list(reversed(tasks)), TaskCounts(0, 0)
    failures: list[Failure] = []
    attempts: dict[int, int] = {}
    running: dict[Future, tuple[int, Task, int]] = {}
    while waiting or running:
        while waiting and len(running) < 2 * executor.slots:  # one in work and one at hand for each
            index, task = waiting.pop()
            known = len(suspects(job.journal_file(index)))
            running[executor.submit(run_task, job, index, task)] = (index, task, known)
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            index, task, known = running.pop(future)
            error = future.exception()
            if error is None:
                finished += future.result()
            elif isinstance(error, ShardsError):
                raise error
            elif is_full(error):
                raise no_room(job.folder)
            elif len(suspects(job.journal_file(index))) > known or _attempt(attempts, index) <= RETRIES:
                waiting.append((index, task))
            else:
                failures.append(Failure(task, f"{type(error).__name__}: {' '.join(str(error).split())}"))
        behind = sum(in_hand(job.journal_file(index)) for index, _, _ in running.values())
        on_progress(finished + TaskCounts(behind, 0))
    return failures


def _attempt(attempts: dict[int, int], index: int) -> int:
    attempts[index] = attempts.get(index, 0) + 1
    return attempts[index]
