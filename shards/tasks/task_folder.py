"""The folder in which a set of tasks works: prepared for one set, resumed, and swept.

Until the commit `.tasks/` in it holds `build.json` (what is being made) and per task `000012.journal` (the clip in
hand) or `000012.json` (its record).
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.publish import NO_LOCKS, is_temporary, publish_bytes
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task_set import RECORD, TASKS, TaskSet, digest_of, unsealed


class OtherContentError(UserError):
    """A folder holds something made otherwise, which is replaced only when asked for."""


def prepare(tasks: TaskSet, listed: Iterable[tuple[int, Task]], *, force: bool, again: bool = False) -> bool:
    """Make the folder ready for the numbered tasks. Returns True where everything in it is finished already.

    Tasks of the same fingerprint are resumed. So are those of the same settings whose listing has changed since (a torn
    file was repaired), as long as everything that is finished is still listed as it was. Raises OtherContentError for
    others unless `force`, which discards them, and UserError for a folder with other things in it. With `again` what is
    finished is discarded too, though it is of these very tasks.
    """
    folder = tasks.folder
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if again or _found(tasks) != tasks.fingerprint:
        with locked(folder, fcntl.LOCK_EX):
            _begin(tasks, listed, force, again)
    with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if alone:  # else another job of an array is at work, and what looks left behind may be its
            tasks.maker.sweep(folder, read_fingerprint(folder) is not None)
    return tasks.maker.finished(folder) is not None


def with_kept_numbers(tasks: TaskSet, listed: Sequence[tuple[int, Task]]) -> list[tuple[int, Task]]:
    """Return the tasks under the numbers that they are finished under, where files before them are no longer listed.

    The others take the next free numbers, so that the order of the listing stays. Where that cannot be (a file was put
    in between finished ones) the numbers stay those of the listing.
    """
    if _said(tasks.folder, "settings") != tasks.settings:
        return list(listed)
    records = sorted((tasks.folder / TASKS).glob(f"[0-9]*{RECORD}"))
    number_of = {_task_of(record): int(record.name.removesuffix(RECORD)) for record in records}
    kept, last = [], -1
    for number, task in listed:
        number = number_of.get(digest_of(task), max(number, last + 1))
        if number <= last:
            return list(listed)
        kept.append((number, task))
        last = number
    return kept


def is_recorded(tasks: TaskSet, index: int, *, whole: bool = False) -> bool:
    """Whether task `index` is finished: its record is there, and so is every file it names, at its full length.

    A record whose files are not is removed, so that the task is done again; so is, if only a `whole` one counts, that
    of a task which left out what it could not read.
    """
    try:
        record = unsealed(tasks.record_file(index).read_bytes())
        files = [(tasks.folder / name, length) for name, length in record["made"]["files"]]
        holds = all(file.exists() and file.stat().st_size == length for file, length in files)
        holds &= not (record["left_out"] and whole)
    except FileNotFoundError:
        return False
    except ValueError:  # a damaged disk
        holds = False
    if not holds:
        tasks.record_file(index).unlink()
    return holds


def remove(folder: Path) -> None:
    """Remove a folder of tasks that are committed elsewhere, if there is one and nobody is at work in it."""
    if folder.exists():
        with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            if alone:
                shutil.rmtree(folder)


def read_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of the tasks that are under way in `folder`, if any; "" where it is damaged."""
    return _said(folder, "fingerprint")


@contextmanager
def locked(folder: Path, kind: int) -> Iterator[bool]:
    """Hold the folder's lock: shared while a task works in it, exclusive while it is committed or wiped.

    Yields whether it is held: with LOCK_NB it is not where someone else holds it.

    Some network file systems have no such lock. Then a worker that outlives its killed command may leave a stray file
    behind; what is committed is the same either way.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        held = True
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            held = False
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield held
    finally:
        os.close(descriptor)


def _begin(tasks: TaskSet, listed: Iterable[tuple[int, Task]], force: bool, again: bool) -> None:
    """Keep what is of these tasks, discard what others left, if `force`, and say what is being made."""
    folder, maker = tasks.folder, tasks.maker
    found, again = _found(tasks), again and maker.finished(folder) is not None
    if found == tasks.fingerprint and not again:  # another job of the array came first
        return
    if found is not None and not _goes_on(tasks, listed):
        if not force:
            state = "finished" if maker.finished(folder) is not None else "unfinished"
            raise OtherContentError(f"{folder} holds {state} work of another source or configuration")
        maker.retract(folder)
        shutil.rmtree(folder / TASKS, ignore_errors=True)
        maker.sweep(folder, False)
    elif found is None and any(not is_temporary(path.name) and path.name != TASKS for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds nothing made by this command; name another folder")
    said = {"settings": tasks.settings, "fingerprint": tasks.fingerprint}
    publish_bytes(folder / TASKS / "build.json", json.dumps(said).encode())


def _goes_on(tasks: TaskSet, listed: Iterable[tuple[int, Task]]) -> bool:
    """Whether what lies in the folder is unfinished work of the same settings, all of whose records still hold.

    Where there is no record yet nothing tells it from the work of another source, and nothing is lost by `force`.
    """
    if tasks.maker.finished(tasks.folder) is not None or _said(tasks.folder, "settings") != tasks.settings:
        return False
    digests = {tasks.record_file(number).name: digest_of(task) for number, task in listed}
    records = list((tasks.folder / TASKS).glob(f"[0-9]*{RECORD}"))
    return bool(records) and all(
        record.name in digests and _task_of(record) in (None, digests[record.name]) for record in records
    )


def _task_of(record: Path) -> str | None:
    """Return the digest of the task that a record is of; None for a damaged one, whose task will be done again."""
    try:
        return unsealed(record.read_bytes())["task"]
    except ValueError:
        return None


def _found(tasks: TaskSet) -> str | None:
    """Return the fingerprint of what is finished or under way in the folder, if anything."""
    finished = tasks.maker.finished(tasks.folder)
    return read_fingerprint(tasks.folder) if finished is None else finished


def _said(folder: Path, key: str) -> str | None:
    try:
        return json_of((folder / TASKS / "build.json").read_bytes())[key]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return ""
