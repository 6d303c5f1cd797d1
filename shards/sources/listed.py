"""Clips that are files in a list: what `esc50:` and `csv:` have in common."""

import errno
import os
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from audio_tokens.errors import ClipError
from audio_tokens.shards.sources.clip import Clip, Reject, path_key
from audio_tokens.shards.sources.registry import Task

TASK_CLIPS = 128  # a few seconds of work: many enough to spread over workers, long enough not to notice the start


class Row(NamedTuple):
    """A line of a list; `path` is relative to the source's folder, or absolute."""

    path: str
    labels: tuple[str, ...]
    place: str
    group: str


class ListedClips:
    """A source over rows; the order of the list's lines does not matter."""

    def __init__(self, folder: Path, labels: tuple[str, ...], rows: list[Row]) -> None:
        self._folder, self._labels, self._rows = folder, labels, rows

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def tasks(self) -> list[Task]:
        """One place a task, so that shards are as large as they may be."""
        tasks = []
        for place, group in groupby(sorted(self._rows, key=lambda row: (row.place, row.path)), lambda row: row.place):
            rows = list(group)
            for start in range(0, len(rows), TASK_CLIPS):
                part = rows[start : start + TASK_CLIPS]
                tasks.append(Task(name=f"{place} from {start}", work=tuple(part), clips=len(part)))
        return tasks

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        for row in task.work:
            if not row.path:
                yield Reject("", "no path in the list")
                continue
            yield Clip(
                key=path_key(row.path),
                labels=row.labels,
                place=row.place,
                group=row.group,
                source_id=row.path,
                open=partial(_read, self._folder / row.path),
            )

    def __getstate__(self) -> dict[str, object]:
        """What goes to the workers: the tasks carry their rows themselves."""
        return self.__dict__ | {"_rows": []}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except ValueError as error:  # an embedded null byte
        raise ClipError(f"no path: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ClipError((error.strerror or str(error)).lower()) from None
        raise


def normal_path(path: str) -> str:
    """One spelling for one file: `./a//b.wav` is `a/b.wav`; the empty path stays empty."""
    return Path(os.path.normpath(path)).as_posix() if path else ""
