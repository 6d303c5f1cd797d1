"""Re-read the content of a data set: counts, indices and samples, beyond what the hashes of its files tell."""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.dataset.manifest import MANIFEST, REJECTS, Dataset, ShardEntry
from audio_tokens.shards.dataset.tar_shard import ShardReader, index_file, read_index, scan


def complaints(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (file, what is wrong with it or None) for the manifest, every shard and the list of rejects."""
    try:
        dataset = Dataset.open(folder)
    except UserError as error:
        yield MANIFEST, str(error)
        return
    yield MANIFEST, None
    for shard in dataset.shards:
        try:
            yield shard.name, _content_complaint(folder / shard.name, shard)
        except (OSError, ValueError, KeyError, IndexError) as error:  # whatever torn bytes make a reader say
            yield shard.name, str(error)
    yield REJECTS, _rejects_complaint(folder / REJECTS, dataset.manifest["totals"]["rejected"])


def _content_complaint(path: Path, shard: ShardEntry) -> str | None:
    """Whether index and counts agree with the shard."""
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
            lines = sum(1 for line in file if json_of(line))
    except (OSError, ValueError) as error:
        return f"unreadable: {error}"
    return None if lines == rejected else f"{lines} lines, the manifest says {rejected} clips were rejected"
