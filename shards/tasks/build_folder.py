"""A data set's folder while it is being built: prepared for one build, resumed, and swept when it is committed."""

import fcntl
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import MANIFEST, REJECTS, Dataset
from audio_tokens.shards.dataset.tar_shard import index_file
from audio_tokens.shards.integrity import INTEGRITY
from audio_tokens.shards.publish import is_temporary
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task import RECORD, TASKS, Job, begin, digest_of, locked, read_fingerprint, read_settings

OURS = re.compile(r"[a-z0-9-]+-\d{6,}-\d{3,}(-unique)?\.(tar|index\.npy)|integrity\.json")


def prepare(job: Job, tasks: Iterable[tuple[int, Task]], *, force: bool) -> bool:
    """Make the folder ready for the numbered tasks of `job`. Returns True where the data set is complete already.

    A build of the same fingerprint is resumed. So is one of the same settings whose listing has changed since (a torn
    file was repaired), as long as everything that is finished is still listed as it was. Raises UserError for another
    one unless `force`, which discards it, and for a folder with other things in it.
    """
    folder = job.folder
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; name a folder for the shards")
    folder.mkdir(parents=True, exist_ok=True)
    if _found(folder) != job.fingerprint:
        with locked(folder, fcntl.LOCK_EX):
            _begin(job, tasks, force)
    with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
        if alone:  # else another job of an array is at work, and what looks left behind may be its
            sweep(folder)
    return (folder / MANIFEST).exists()


def is_recorded(job: Job, index: int) -> bool:
    """Whether task `index` is finished: its record is there, and so is every shard it names, at its full length.

    A record whose shards are not is removed, so that the task is done again.
    """
    try:
        record = json.loads(job.record_file(index).read_bytes())
        files = [(job.folder / shard["name"], shard["bytes"]) for shard in record["shards"]]
        whole = all(file.exists() and file.stat().st_size == length for file, length in files)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):  # a damaged disk
        whole = False
    if not whole:
        job.record_file(index).unlink()
    return whole


def sweep(folder: Path) -> None:
    """Remove what a build leaves behind and its manifest does not list; nothing of anyone else's.

    Without a manifest that is everything half-written; without a build under way, whole shards as well.
    """
    if (folder / MANIFEST).exists():
        shutil.rmtree(folder / TASKS, ignore_errors=True)
        names = [shard.name for shard in Dataset.open(folder).shards]
        listed = {REJECTS, INTEGRITY, *names, *(index_file(Path(name)).name for name in names)}
    elif read_fingerprint(folder) is not None:
        listed = {path.name for path in folder.iterdir() if not is_temporary(path.name)}
    else:
        listed = set()
    for path in folder.iterdir():
        ours = OURS.fullmatch(path.name) or is_temporary(path.name) or path.name == REJECTS
        if ours and path.name not in listed:
            path.unlink()


def _begin(job: Job, tasks: Iterable[tuple[int, Task]], force: bool) -> None:
    """Keep what is of this build, discard what another one left, if `force`, and say what is being built."""
    folder = job.folder
    found = _found(folder)
    if found == job.fingerprint:  # another job of the array came first
        return
    if found is not None and not _goes_on(job, tasks):
        if not force:
            what = "a data set" if (folder / MANIFEST).exists() else "an unfinished build"
            raise UserError(f"{folder} holds {what} of another source or configuration; --force replaces it")
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder / TASKS, ignore_errors=True)
        sweep(folder)
    elif found is None and any(not is_temporary(path.name) and path.name != TASKS for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no shards; name another folder")
    begin(job)


def _goes_on(job: Job, tasks: Iterable[tuple[int, Task]]) -> bool:
    """Whether what lies in the folder is an unfinished build of the same settings, all of whose records still hold.

    Where there is no record yet nothing tells it from the build of another source, and nothing is lost by `force`.
    """
    if (job.folder / MANIFEST).exists() or read_settings(job.folder) != job.settings:
        return False
    listed = {job.record_file(number).name: digest_of(task) for number, task in tasks}
    records = list((job.folder / TASKS).glob(f"[0-9]*{RECORD}"))
    return bool(records) and all(
        record.name in listed and _task_of(record) in (None, listed[record.name]) for record in records
    )


def _task_of(record: Path) -> str | None:
    """Return the digest of the task that a record is of; None for a damaged one, whose task will be done again."""
    try:
        return json.loads(record.read_bytes())["task"]
    except (ValueError, KeyError, TypeError):
        return None


def _found(folder: Path) -> str | None:
    """Return the fingerprint of the data set or build in the folder, if any; "" for a data set of another version."""
    try:
        return json.loads((folder / MANIFEST).read_bytes())["build"]["fingerprint"]
    except FileNotFoundError:
        return read_fingerprint(folder)
    except (ValueError, KeyError, TypeError):
        return ""
