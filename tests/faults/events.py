"""Changes of the file system that a process is about to make, counted by Python's audit events, and faults at one.

Between two of them nothing on disk changes, so a kill before each of them is a kill at every moment that matters.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "shutil.rmtree"}


def count_changes(below: Path, tally: Path) -> Callable[[], None]:
    """Return what has a process write into the file `tally` how many changes it is to make below a folder."""

    def begin() -> None:
        file = os.open(tally, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        _watch(below, reads=True, on_event=lambda number: os.pwrite(file, b"%d" % number, 0))

    return begin


def at_change(number: int, below: Path, act: Callable[[], object]) -> Callable[[], None]:
    """Return what has a process `act` before its change of that number, and go on if it then lives and nothing raises.

    Readings count too, so that an error may meet them.
    """

    def begin() -> None:
        _watch(below, reads=True, on_event=lambda seen: act() if seen == number else None)

    return begin


def signal_itself(number: int) -> Callable[[], None]:
    """Return what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


def fail_with(number: int) -> Callable[[], None]:
    """Return what fails as an operation of the file system would."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def _watch(below: Path, reads: bool, on_event: Callable[[int], object]) -> None:
    leader, seen, top, busy = os.getpid(), 0, str(below), False

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen, busy
        if (event != "open" and event not in CHANGES) or busy or os.getpid() != leader:
            return
        if not isinstance(arguments[0], str | os.PathLike) or not os.fspath(arguments[0]).startswith(top):
            return
        if event == "open" and not reads and not arguments[2] & WRITING:
            return
        busy, seen = True, seen + 1
        try:
            on_event(seen)
        finally:
            busy = False

    sys.addaudithook(hook)
