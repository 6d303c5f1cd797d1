"""The processes of this machine as an executor."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from typing import Any

from audio_tokens.interrupts import held_interrupt, masked_interrupt
from audio_tokens.shards.workers.child_process import portable
from audio_tokens.shards.workers.retry import Executor

LOCK_S = 5.0  # pebble's is a minute; a lock is held for as long as a few hundred bytes take through a pipe


class LocalPool:
    """pebble's pool of processes, and another one where it breaks.

    It replaces a worker that died and fails only its task; a ProcessPoolExecutor would break as a whole. So does this
    one where a worker dies with the pool's own lock in its hand (killed as it takes a task or gives a result): the
    others wait LOCK_S for the lock, end, and every task in work is tried again by a new pool.
    Workers come from a fork server: they hold nothing of this process, and start in a fraction of a second.
    """

    def __init__(self, workers: int) -> None:
        self.slots = workers
        _start_fork_server()
        self._locked = False
        self._open: set[Future] = set()
        self.pool = self._new()

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        with held_interrupt():  # the first call starts the workers: one begun and not known of would outlive its locks
            if self._locked or not self.pool.active:
                self._give_up()
                self.pool = self._new()
            future = self.pool.schedule(_answer, args=(function, *arguments))
        self._open.add(future)
        future.add_done_callback(self._see)
        return future

    def _see(self, future: Future) -> None:
        """Notice a worker that ended by itself, which is how it ends when it has waited for the lock in vain."""
        self._open.discard(future)
        self._locked |= getattr(future.exception(), "exitcode", None) == 1  # of pebble's ProcessExpired

    def _give_up(self) -> None:
        """Stop the pool; it says no more of the calls that it had, so that is said here."""
        self.pool.stop()
        for future in list(self._open):
            with suppress(InvalidStateError):  # one that ends just now
                future.set_exception(BrokenProcessPool("a worker was killed with the pool's lock in its hand"))
        self._open.clear()
        self._locked = False

    def _new(self) -> Any:
        from pebble import ProcessPool

        context = multiprocessing.get_context("forkserver")
        return ProcessPool(self.slots, initializer=_wait_for_locks, initargs=(LOCK_S,), context=context)


@contextmanager
def local_pool(workers: int) -> Iterator[Executor]:
    """Yield an executor of `workers` processes on this machine."""
    executor = LocalPool(workers)
    try:
        yield executor
    except BaseException:
        with held_interrupt():  # a second one would leave workers behind, who would look for locks that are gone
            executor.pool.stop()
            executor.pool.join()
        raise
    executor.pool.close()
    executor.pool.join()


def _start_fork_server() -> None:
    """Start it with Ctrl-C held off: it ignores that later on, but Python's own start would print a traceback.

    The tracker of resources, which it would start first, lets Ctrl-C in again.
    """
    resource_tracker.ensure_running()
    with masked_interrupt():
        forkserver.ensure_running()


def _wait_for_locks(seconds: float) -> None:
    """Make this worker wait so long for a lock of its pool."""
    from pebble.common import CONSTS

    CONSTS.channel_lock_timeout = seconds


def _answer(function: Callable[..., Any], /, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        raise portable(error) from None
