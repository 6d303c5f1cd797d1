"""The clip in hand, written down before it is decoded, so that whatever kills the process names its suspect.

A journal is a few int64: the ordinal of the clip in hand (-1: none; -2 - n: clip n is being read from the input), then
the suspects of earlier attempts. A process that dies leaves the clip in hand behind, and the next attempt, wherever it
runs, finds a suspect; of a death while reading it finds how far the input can be read. Being a suspect costs
nothing: a job killed from outside leaves suspects too. A suspect is decoded in a process of its own
(clip_step.py), and only if that dies as well is the clip rejected. So a clip costs at most one worker, and the outcome
is the same on any executor.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

NONE, FIRST_READ = -1, -2


class Journal:
    """Open for one attempt of one task; gone when the attempt succeeds.

    `readable_clips` tells after how many clips the last attempt died of reading on, if it did.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.suspects = suspects(path)
        in_hand, *_ = _read(path) or (NONE,)
        self.readable_clips = None if in_hand >= NONE else FIRST_READ - in_hand
        # A write to the page cache survives any death of the process; one of 8 bytes is whole or absent.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        os.write(self._file, struct.pack(f"<{1 + len(self.suspects)}q", NONE, *sorted(self.suspects)))

    @contextmanager
    def reading(self, ordinal: int) -> Iterator[None]:
        """Have it written down that a clip is being read from the input."""
        self._mark(FIRST_READ - ordinal)
        try:
            yield
        finally:
            self._mark(NONE)

    @contextmanager
    def holding(self, ordinal: int) -> Iterator[bool]:
        """Have a clip written down while it is in hand (2 us); yields whether it is a suspect."""
        self._mark(ordinal)
        try:
            yield ordinal in self.suspects
        finally:
            self._mark(NONE)  # an exception is an answer: only a death leaves the clip in hand

    def _mark(self, ordinal: int) -> None:
        os.pwrite(self._file, struct.pack("<q", ordinal), 0)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        if kind is None:
            self._path.unlink(missing_ok=True)


def suspects(path: Path) -> frozenset[int]:
    """Return the clips that were in hand when an attempt died."""
    return frozenset(ordinal for ordinal in _read(path) if ordinal > NONE)


def in_hand(path: Path) -> int:
    """Return how many clips of a running task are behind it, for a progress bar."""
    ordinal, *_ = _read(path) or (0,)
    return max(0, ordinal, FIRST_READ - ordinal)


def _read(path: Path) -> tuple[int, ...]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    return struct.unpack(f"<{len(data) // 8}q", data[: len(data) // 8 * 8])
