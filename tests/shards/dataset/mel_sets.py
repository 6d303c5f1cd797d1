"""Data sets of given arrays, published as a build publishes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_tokens.shards.dataset.clip_table import joined, read_arrays
from audio_tokens.shards.dataset.manifest import REJECTS, Dataset, ShardEntry, write_manifest
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.tasks.task_shards import ShardConfig, TaskShards, table_file


def mel_set(folder: Path, mels: Sequence[np.ndarray], *, shard_clips: int) -> Dataset:
    """Return a data set of the arrays [T, F] in shards of so many clips; clip c has the label c % 3."""
    labels = ("a", "b", "c")
    folder.mkdir()
    ids = {label: number for number, label in enumerate(labels)}
    with TaskShards(folder, 0, ShardConfig(shard_clips=shard_clips), ids) as shards:
        for number, mel_TF in enumerate(mels):
            clip = Clip(
                key=f"clip-{number}",
                labels=(labels[number % 3],),
                place="train",
                group=f"recording {number // 2}",
                source_id=f"clip {number}",
                wave_S=np.zeros(1, np.float32),
                rate_hz=1,
            )
            shards.add(clip, (mel_TF, 1.0))
        entries = tuple(ShardEntry(**shard) for shard in shards.finish()["shards"])
    (folder / REJECTS).touch()
    write_manifest(
        folder,
        build={"fingerprint": ""},
        producer={},
        labels=labels,
        single_label=True,
        shards=entries,
        table=joined(read_arrays(table_file(folder, entry.name)) for entry in entries),
        rejected=0,
        extra={"label_counts": {}},
    )
    return Dataset.open(folder)
