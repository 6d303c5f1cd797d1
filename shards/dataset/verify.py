"""Re-read a data set against its manifest and name what is torn."""

import hashlib
import json
import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import REJECTS, Dataset, ShardEntry
from audio_tokens.shards.dataset.tar_shard import ShardReader, index_file, read_index, scan


def complaints(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (file, what is wrong with it or None) for every shard and for the list of rejects.

    Raises UserError where there is no data set.
    """
    dataset = Dataset.open(folder)
    for shard in dataset.shards:
        yield shard.name, _shard_complaint(folder / shard.name, shard)
    yield REJECTS, _rejects_complaint(folder / REJECTS, dataset.manifest["totals"]["rejected"])


def _shard_complaint(path: Path, shard: ShardEntry) -> str | None:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:  # a folder of that name, a bad block
        return f"unreadable: {error.strerror}"
    if path.stat().st_size != shard.bytes:
        return f"torn: {path.stat().st_size} bytes, the manifest says {shard.bytes}"
    if sha256 != shard.sha256:
        return "torn: its sha256 is not the manifest's"
    try:
        return _content_complaint(path, shard)
    except UserError as error:
        return str(error)


def _content_complaint(path: Path, shard: ShardEntry) -> str | None:
    """The bytes are the manifest's: what is left is whether index and counts agree with them."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        index_C4 = scan(view, path)
    found = read_index(path)
    if found is not None and not np.array_equal(found, index_C4):
        return f"its index {index_file(path).name} is another shard's; delete it"
    frames = sum(len(sample.array_TF) for sample in ShardReader(path).read())
    if (len(index_C4), frames) != (shard.clips, shard.frames):
        return f"{len(index_C4)} clips of {frames} frames, the manifest says {shard.clips} of {shard.frames}"
    return None


def _rejects_complaint(path: Path, rejected: int) -> str | None:
    if not path.exists():
        return "missing"
    try:
        with path.open("rb") as file:
            lines = sum(1 for line in file if json.loads(line))
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"
    return None if lines == rejected else f"{lines} lines, the manifest says {rejected} clips were rejected"
