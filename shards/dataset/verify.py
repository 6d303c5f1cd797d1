"""Re-read the content of a data set: counts, table and samples, beyond what the hashes of its files tell."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.dataset.clip_table import CLIPS
from audio_tokens.shards.dataset.manifest import MANIFEST, REJECTS, Dataset
from audio_tokens.shards.dataset.tar_shard import ShardReader


def complaints(folder: Path) -> Iterator[tuple[str, str | None]]:
    """Yield (file, what is wrong with it or None) for the manifest, the table, every shard and the list of rejects."""
    try:
        dataset = Dataset.open(folder)
    except UserError as error:
        yield MANIFEST, str(error)
        return
    yield MANIFEST, None
    try:
        dataset.table  # noqa: B018
    except (UserError, OSError) as error:
        yield CLIPS, str(error)
    else:
        yield CLIPS, None
        for index, shard in enumerate(dataset.shards):
            try:
                yield shard.name, _content_complaint(folder, dataset, index)
            except (OSError, ValueError, KeyError, IndexError) as error:  # whatever torn bytes make a reader say
                yield shard.name, str(error)
    yield REJECTS, _rejects_complaint(folder / REJECTS, dataset.manifest["totals"]["rejected"])


def _content_complaint(folder: Path, dataset: Dataset, shard_index: int) -> str | None:
    """Whether the table, the counts and the shard agree."""
    shard, table = dataset.shards[shard_index], dataset.table
    numbers = dataset.numbers_in(shard_index)
    index_C4 = ShardReader(folder / shard.name).index_C4
    if not np.array_equal(index_C4, table.index_C4[numbers.start : numbers.stop]):
        return f"its {len(index_C4)} clips do not lie where {CLIPS} says"
    frames = 0
    for number, sample in zip(numbers, dataset.read(shard_index), strict=True):
        labels = table.label_ids[table.label_offsets[number] : table.label_offsets[number + 1]]
        said = (table.groups[number], labels.tolist(), int(table.frames_C[number]))
        if said != (sample.meta["group"], sample.meta["labels"], len(sample.array_TF)):
            return f"{sample.key} is not what {CLIPS} says"
        frames += len(sample.array_TF)
    if frames != shard.frames:
        return f"it has {frames} frames, the manifest says {shard.frames}"
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
