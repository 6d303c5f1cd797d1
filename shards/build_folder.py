"""A data set's folder while it is being built: prepared for one build, resumed, and swept when it is committed."""

import fcntl
import json
import re
import shutil
from pathlib import Path

from shards.dataset import MANIFEST, REJECTS, Dataset
from shards.errors import ShardsError
from shards.publish import is_temporary, publish_bytes
from shards.tar_shard import index_file
from shards.tasks import TASKS, Job, locked, read_fingerprint

OURS = re.compile(r"[a-z0-9-]+-\d{6}-\d{3,}(-unique)?\.(tar|index\.npy)")


def prepare(job: Job, *, force: bool) -> bool:
    """Make the folder ready for the tasks of `job`. Returns True where the data set is complete already.

    A build of the same fingerprint is resumed. Raises ShardsError for another one unless `force`, which discards it,
    and for a folder with other things in it.
    """
    folder = job.folder
    if folder.exists() and not folder.is_dir():
        raise ShardsError(f"{folder} is a file; name a folder for the shards")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, fcntl.LOCK_EX):
        committed = (folder / MANIFEST).exists()
        found = _committed(folder) if committed else read_fingerprint(folder)
        if found == job.fingerprint:
            if committed:
                sweep(folder)
            return committed
        if found is not None:
            if not force:
                what = "a data set" if committed else "an unfinished build"
                raise ShardsError(f"{folder} holds {what} of another source or configuration; --force replaces it")
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder / TASKS, ignore_errors=True)
            sweep(folder)
        elif any(not is_temporary(path.name) and path.name != TASKS for path in folder.iterdir()):
            raise ShardsError(f"{folder} is not empty and holds no shards; name another folder")
        publish_bytes(folder / TASKS / "build.json", json.dumps({"fingerprint": job.fingerprint}).encode())
    return False


def is_recorded(job: Job, index: int) -> bool:
    """Whether task `index` is finished: its record is there, and so is every shard it names, at its full length."""
    try:
        record = json.loads(job.record_file(index).read_bytes())
        whole = all((job.folder / shard["name"]).stat().st_size == shard["bytes"] for shard in record["shards"])
    except FileNotFoundError:
        return False
    if not whole:
        job.record_file(index).unlink()
    return whole


def sweep(folder: Path) -> None:
    """Remove what a build leaves behind and the manifest (if there is one) does not list; nothing of anyone else's."""
    listed = set()
    if (folder / MANIFEST).exists():
        shutil.rmtree(folder / TASKS, ignore_errors=True)
        names = [shard.name for shard in Dataset.open(folder).shards]
        listed = {REJECTS, *names, *(index_file(Path(name)).name for name in names)}
    for path in folder.iterdir():
        ours = OURS.fullmatch(path.name) or is_temporary(path.name) or path.name == REJECTS
        if ours and path.name not in listed:
            path.unlink()


def _committed(folder: Path) -> str:
    """Return the fingerprint of a finished data set, or an empty one where it is of another version."""
    try:
        return json.loads((folder / MANIFEST).read_bytes())["build"]["fingerprint"]
    except (ValueError, KeyError, TypeError):
        return ""
