"""A time limit on work that may never come back: past it the process dies of SIGALRM.

The kernel's timer needs neither a thread nor Python's lock, so a decoder that hangs inside C is caught too. A process
has one timer and a Dask worker may have several threads, so the earliest deadline among them is the one that is set.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_deadlines: dict[int, float] = {}
_lock = threading.Lock()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process if the block takes longer than `seconds`. Blocks of one thread do not nest."""
    thread = threading.get_ident()
    _set(thread, time.monotonic() + seconds)
    try:
        yield
    finally:
        _set(thread, None)


def _set(thread: int, deadline: float | None) -> None:
    with _lock:
        if deadline is None:
            del _deadlines[thread]
        else:
            _deadlines[thread] = deadline
        left_s = max(1e-3, min(_deadlines.values()) - time.monotonic()) if _deadlines else 0.0
        signal.setitimer(signal.ITIMER_REAL, left_s)  # 0 disarms it
