"""How much a command says while it works: `--quiet` results, warnings and errors alone, `--verbose` progress always.

In between progress is shown where somebody watches: bars and a line an epoch go to a terminal and to nothing else.
Light, since every command reads it.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

QUIET, NORMAL, VERBOSE = range(3)
OPTIONS = {
    "--quiet": (QUIET, "say nothing but results, warnings and errors"),
    "--verbose": (VERBOSE, "show progress even where the output is no terminal"),
}
_loudness: ContextVar[int] = ContextVar("loudness", default=NORMAL)


@contextmanager
def as_loud_as(words: Sequence[str]) -> Iterator[None]:
    """Be as loud as a command line asks while the context lasts."""
    token = _loudness.set(next((OPTIONS[word][0] for word in words if word in OPTIONS), _loudness.get()))
    try:
        yield
    finally:
        _loudness.reset(token)


def say(line: str) -> None:
    """Print on standard output what a command does, unless it is to be quiet."""
    if _loudness.get() > QUIET:
        print(line, flush=True)


def say_progress(line: str) -> None:
    """Print on standard error how far a command has come, where progress is shown."""
    if shows_progress():
        print(line, file=sys.stderr, flush=True)


def shows_progress() -> bool:
    """Return whether progress is shown."""
    return _loudness.get() == VERBOSE or (_loudness.get() == NORMAL and sys.stderr.isatty())
