"""Ctrl-C where it may not strike: in what C calls, in the start of a process, in what cannot fail.

What is raised there is a traceback on the screen, or a process that nobody knows of, and no end.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, no_type_check

AGAIN_S = 0.001  # between two looks at whether a callback that was struck has returned


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
    struck, over = threading.get_ident(), threading.Event()

    @no_type_check  # a wrapper around it would go on where it ends
    def see(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        threading.Thread(target=strike_again, daemon=True).start()

    def strike_again() -> None:
        """Wait until `see` has returned, however slow the machine: what strikes in it is printed and lost as well."""
        while not over.wait(AGAIN_S):
            if not _is_inside(see.__code__, sys._current_frames().get(struck)):
                signal.pthread_kill(struck, signal.SIGINT)
                return

    before, sys.unraisablehook = sys.unraisablehook, see
    try:
        yield
    finally:
        sys.unraisablehook = before
        over.set()


def _is_inside(code: CodeType, frame: FrameType | None) -> bool:
    """Say whether a call of a function is among those that led to a frame."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None
