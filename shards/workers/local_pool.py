"""The processes of this machine as an executor."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from audio_tokens.shards.workers.child_process import portable
from audio_tokens.shards.workers.retry import Executor


class LocalPool:
    """pebble's pool of processes, and another one where it breaks.

    It replaces a worker that died and fails only its task; a ProcessPoolExecutor would break as a whole. So does this
    one where a worker dies with the pool's own lock in its hand: then every task in work fails, and is tried again.
    Workers come from a fork server: they hold nothing of this process, and start in a fraction of a second.
    """

    def __init__(self, workers: int) -> None:
        self.slots = workers
        self.pool = self._new()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        if not self.pool.active:
            self.pool.stop()
            self.pool = self._new()
        return self.pool.schedule(_answer, args=(function, *arguments))

    def _new(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(max_workers=self.slots, context=multiprocessing.get_context("forkserver"))


@contextmanager
def local_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of `workers` processes on this machine."""
    executor = LocalPool(workers)
    try:
        yield executor
    except BaseException:
        executor.pool.stop()
        raise
    else:
        executor.pool.close()
    finally:
        executor.pool.join()


def _answer(function: Callable[..., Any], /, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise portable(error) from None
