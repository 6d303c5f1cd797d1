"""The processes of this machine as an executor."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from audio_tokens.shards.workers.child_process import portable
from audio_tokens.shards.workers.retry import Executor


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
