"""Ctrl-C held back while a C library calls Python: what is raised there is a traceback on the screen, and no end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupt() -> Iterator[None]:
    """Let SIGINT wait until the block ends, 20 us a block; a block reads some 100 s of sound at most."""
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
