"""A time limit on work that may never come back: past it the process dies of SIGALRM.

The kernel's timer needs neither a thread nor Python's lock, so a decoder that hangs inside C is caught too.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Kill this process if the block takes longer than `seconds`; 0 is no limit.

    A process has one timer: blocks do not nest.
    """
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def renew_time_limit() -> None:
    """Grant the block all of its time again: a part of the work is done, and the limit is for each part."""
    _, seconds = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
