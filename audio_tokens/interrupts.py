"""Ctrl-C where it may not strike: in what C calls, in the start of a process, in what cannot fail.

What is raised there is a traceback on the screen, or a process that nobody knows of, and no end.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

AGAIN_S = 0.001  # after which a callback that was struck has returned


@contextmanager
def held_interrupt() -> Iterator[None]:
    """Let SIGINT wait until the block ends, which takes 20 us a block and should not take longer than people wait."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread meets signals
        yield
        return
    waiting = []
    before = signal.signal(signal.SIGINT, lambda *signal_and_frame: waiting.append(signal_and_frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if waiting and callable(before):
            before(*waiting[0])


@contextmanager
def masked_interrupt() -> Iterator[None]:
    """Hold SIGINT off what is started meanwhile, for good: Python's own start would print a traceback of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def repeated_interrupt() -> Iterator[None]:
    """Let SIGINT come again where it struck what cannot fail (a callback of weakref's, say a lock's of an import).

    Python would print a traceback there, and go on as if nobody had pressed anything.
    """
    again: list[threading.Timer] = []

    def see(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        again.append(threading.Timer(AGAIN_S, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)))
        again[-1].start()

    before, sys.unraisablehook = sys.unraisablehook, see
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:
            timer.cancel()
