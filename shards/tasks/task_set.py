"""A set of tasks: where it works, what it reads, what is made of it, and what identifies it.

One engine runs every such set (task.py, run_tasks.py), keeps what is finished (task_folder.py) and ends it
(commit.py). What it makes, mel shards or parts of a token store, is a `Maker`.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from audio_tokens.errors import masked
from audio_tokens.shards.sources.registry import Task

TASKS, RECORD = ".tasks", ".json"


class Done(NamedTuple):
    """A clip that a task has used."""

    key: str
    place: str
    source_id: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a finished task came to; `made` is what its product said of itself.

    `repeated` are the keys among `clips` that an earlier task has used: those clips are to be dropped, and stand in
    `rejects` already. `left_out` says what of its input could not be read, where that was asked for.
    """

    index: int
    clips_in: int
    rejects: list[tuple[str, str]]
    clips: list[Done]
    made: Mapping[str, Any]
    repeated: frozenset[str] = frozenset()
    left_out: str = ""


@runtime_checkable
class Listed(Protocol):
    """What the engine asks of a clip; `Clip` is one."""

    @property
    def key(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def place(self) -> str: ...
    @property
    def source_id(self) -> str: ...


@runtime_checkable
class ClipSource(Protocol):
    """What the engine asks of a source; `Source` is one."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def clips(self, task: Task) -> Iterator[Any]:
        """Yield a `Listed` clip or a `Reject` for each clip of the task."""
        ...


@runtime_checkable
class Product(Protocol):
    """What one task makes."""

    def add(self, clip: Any, made: Any) -> None:
        """Take what `Maker.transform` made of a clip. Raises ClipError, before anything is kept, for a reject."""
        ...

    def finish(self) -> dict[str, Any]:
        """Publish the files and return what the record says of them; `files` lists [name, bytes] of each."""
        ...


class Maker(ABC):
    """What a set of tasks makes, in the workers (`transform`, `open`) and where it is committed (the rest)."""

    @abstractmethod
    def transform(self, clip: Any, before: Any) -> Any:
        """Return what becomes of one clip: a pure function, called in this process or in one that may die of it.

        `before` is the last clip of the same place that the task has used, if there is one.
        Raises ClipError with the reason for a reject.
        """

    @abstractmethod
    def open(self, folder: Path, index: int, label_ids: Mapping[str, int]) -> AbstractContextManager[Product]:
        """Return the product of task `index`; left with an error, it keeps nothing."""

    def finished(self, folder: Path) -> str | None:
        """Return the fingerprint of what lies finished in the folder, if anything; "" for that of another version."""
        return None

    def retract(self, folder: Path) -> None:
        """Make what lies finished in the folder unfinished."""
        return

    @abstractmethod
    def sweep(self, folder: Path, under_way: bool) -> None:
        """Remove what is left behind: what is half-written; where nothing is under way, everything unfinished."""

    @abstractmethod
    def publish(self, tasks: "TaskSet", records: Iterable[Record]) -> None:
        """Commit what all tasks made, a pure function of their records (which can be gone through several times)."""


@dataclass(frozen=True, kw_only=True)
class TaskSet:
    """All that a worker must know; sent with every task, so it holds no listing.

    Args:
        folder: where the tasks put what they make
        source: yields the clips of a task
        maker: says what is made of them
        clip_timeout_s: a clip that takes longer is rejected; 0 for no limit
        settings: digest of all that decides the result beside the listing
        fingerprint: of everything that decides the result; a worker of another set must not write here
        distinct: no two clips have one key, so that keys need not be compared
    """

    folder: Path
    source: ClipSource
    maker: Maker
    clip_timeout_s: float
    settings: str
    fingerprint: str
    distinct: bool = False

    def record_file(self, index: int) -> Path:
        return self.folder / TASKS / f"{index:06d}{RECORD}"

    def journal_file(self, index: int) -> Path:
        return self.folder / TASKS / f"{index:06d}.journal"


def sealed(record: Mapping[str, Any]) -> bytes:
    """Return a record as its file holds it: a line of JSON, and the sha256 of that."""
    line = json.dumps(record).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode()


def unsealed(data: bytes) -> dict[str, Any]:
    """Return the record that `sealed` was given. Raises ValueError where a bit of it is another."""
    line, _, digest = data.rpartition(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != digest:
        raise ValueError("its digest is another")
    return json.loads(line)


def fingerprint(settings: str, tasks: Iterable[Task]) -> str:
    """Return the sha256 of everything that decides the bytes of a data set: the settings and the listing."""
    digest = hashlib.sha256(settings.encode())
    for task in tasks:  # one at a time: a listing may be long
        digest.update(digest_of(task).encode())
    return digest.hexdigest()


def digest_of(task: Task) -> str:
    """Return the sha256 of all that a task is."""
    return hashlib.sha256(json.dumps(astuple(task)).encode()).hexdigest()


def reject_line(source_id: str, reason: str) -> str:
    """Return a reject as rejects.jsonl lists it."""
    return json.dumps({"id": source_id, "reason": masked(reason)}) + "\n"
