"""Clips that are files in a list, or parts of files: what `csv:`, `esc50:`, `folder:`, `manifest:` have in common."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from audio_tokens.errors import ClipError, UserError
from audio_tokens.seeds import hashed
from audio_tokens.shards.sources.addresses.reach import is_plain_file
from audio_tokens.shards.sources.clip import Clip, Part, Reject, path_key
from audio_tokens.shards.sources.files import AUDIO_ENDINGS
from audio_tokens.shards.sources.label_list import same_text, spellings
from audio_tokens.shards.sources.registry import Task

TASK_CLIPS = 128  # a few seconds of work: many enough to spread over workers, long enough not to notice the start
# A larger file is handed on by its path, and read in blocks.
LARGE_BYTES = 1 << 25
UNDECIDED = ""  # the place of a row whose list names no split
SHARES = {"test": 0.2, "val": 0.1}  # of the clips, where a split is drawn


class Row(NamedTuple):
    """A line of a list.

    Args:
        path: relative to the source's folder, or absolute
        labels: names
        place: the split or fold, or UNDECIDED
        group: rows of one group stay together
        start_s, duration_s: the part of the file that is the clip
    """

    path: str
    labels: tuple[str, ...]
    place: str
    group: str
    start_s: float = 0.0
    duration_s: float | None = None

    @property
    def name(self) -> str:
        """What tells the clip: its file, and the part of it."""
        if not self.start_s and self.duration_s is None:
            return self.path
        return f"{self.path}@{self.start_s:.6g}" + ("" if self.duration_s is None else f"+{self.duration_s:.6g}")


class ListedClips:
    """A source over rows; the order of the list's lines does not matter. `notes` is to be said when it is opened."""

    def __init__(
        self, folder: Path, labels: tuple[str, ...], rows: list[Row], *, where: str, notes: Iterable[str] = ()
    ) -> None:
        """Raises UserError where rows of one clip contradict each other."""
        self._folder, self._labels = folder, labels
        self._rows, merged = _merged(rows, where)
        self.notes = list(notes)
        if merged:
            self.notes.append(f"{merged} rows merged into others of the same clip, which got their labels")
        if any(row.place == UNDECIDED for row in self._rows):
            self._rows = _drawn(self._rows)
            counts = Counter(row.place for row in self._rows)
            sizes = ", ".join(f"{counts[place]} {place}" for place in ("train", "val", "test"))
            self.notes.append(f"the list names no split: one was drawn, by group where there is one: {sizes}")

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(sorted({row.place for row in self._rows}))

    @property
    def single_label(self) -> bool:
        return all(len(row.labels) == 1 for row in self._rows)

    def tasks(self) -> list[Task]:
        """One place a task, so that shards are as large as they may be."""
        tasks = []
        listed = sorted(self._rows, key=lambda row: (row.place, row.path, row.start_s, row.name))
        for place, group in groupby(listed, lambda row: row.place):
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
                key=path_key(row.name),
                labels=row.labels,
                place=row.place,
                group=row.group,
                source_id=row.name,
                open=partial(_read, self._folder, row.path),
                part=None if row.name == row.path else Part(row.start_s, row.duration_s),
            )

    def __getstate__(self) -> dict[str, object]:
        """What goes to the workers: the tasks carry their rows themselves."""
        return self.__dict__ | {"_rows": [], "notes": []}


def normal_path(path: str) -> str:
    """One spelling for one file: `./a//b.wav` is `a/b.wav`, in composed characters; the empty path stays empty."""
    return same_text(Path(os.path.normpath(path)).as_posix()) if path else ""


def _merged(rows: list[Row], where: str) -> tuple[list[Row], int]:
    """Return the rows with those of one clip under all its labels, and how many rows that merged.

    Rows that say the very same stay, and are rejected as duplicates. Raises UserError where rows of one clip name
    different splits or groups.
    """
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.name if row.path else f"no path {len(by_name)}", []).append(row)
    kept, merged = [], 0
    for same in by_name.values():
        for what in ("place", "group"):
            values = dict.fromkeys(getattr(row, what) for row in same)
            if len(values) > 1:
                word = "split" if what == "place" else what
                raise UserError(f"{where}: {same[0].name!r} is listed for more than one {word}: {', '.join(values)}")
        label_lists = dict.fromkeys(row.labels for row in same)
        labels = tuple(dict.fromkeys(label for names in label_lists for label in names))
        kept += [same[0]._replace(labels=labels)] * (1 + len(same) - len(label_lists))
        merged += len(label_lists) - 1
    return kept, merged


def _drawn(rows: list[Row]) -> list[Row]:
    """Return the rows with a split each, whole groups: SHARES of the clips, but something to train on first of all.

    A pure function of the groups' names and sizes: each split takes groups, in the order of their hashes, until it has
    its share.
    """
    clips = Counter(row.group for row in rows)
    waiting = sorted(clips, key=lambda group: (hashed(0, "split", group), group), reverse=True)
    places = dict.fromkeys(clips, "train")
    for place, share in SHARES.items():
        taken = 0
        while len(waiting) > 1 and taken < share * len(rows):
            group = waiting.pop()
            places[group] = place
            taken += clips[group]
    return [row._replace(place=places[row.group]) for row in rows]


def _read(folder: Path, listed: str) -> bytes | Path:
    """Return the bytes of a listed file, or a large one's path. Raises ClipError where it is none that can be read."""
    path = folder / listed
    if "\0" in listed:
        raise ClipError("no path: embedded null byte")
    try:
        for spelling in spellings(listed):
            if (folder / spelling).exists():
                path = folder / spelling
                break
        else:
            path = _with_an_ending(path) or path
            if not path.exists():
                raise FileNotFoundError(errno.ENOENT, f"no such file or directory{_spaces(listed)}")
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not is_plain_file(path):
            raise ClipError("not a regular file: a device, a pipe or a socket")
        return path if path.stat().st_size > LARGE_BYTES else path.read_bytes()
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise ClipError((error.strerror or str(error)).lower()) from None
        raise


def _with_an_ending(path: Path) -> Path | None:
    """Return the file that a list names without its ending, `64760` for `64760.wav`."""
    return next((file for name in AUDIO_ENDINGS if (file := path.with_name(f"{path.name}.{name}")).exists()), None)


def _spaces(listed: str) -> str:
    parts = listed.split("/")
    return "; there is a space at an end of its name" if any(part != part.strip() for part in parts) else ""
