"""Mel shards to measure on, published as a build publishes them. T frames, F bands."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio_tokens.engine.sound.log_mel import MelConfig
from audio_tokens.jobs.build import Build, build
from audio_tokens.seeds import generator
from audio_tokens.shards.dataset.clip_table import CLIPS, joined, read_arrays
from audio_tokens.shards.dataset.manifest import REJECTS, Dataset, ShardEntry, write_manifest
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.tasks.task_shards import ShardConfig, TaskShards, table_file
from benchmarks.harness import silent


def noise_shards(folder: Path, *, clips: int, frames: int, bands: int, shard_clips: int | None = None) -> Dataset:
    """Return a data set of random arrays, for whoever does not look at what they mean; of one shard unless told."""
    rng, labels = generator(0, "bench shards"), ("a", "b", "c")
    folder.mkdir(parents=True)
    config = ShardConfig(shard_clips=shard_clips or clips, shard_bytes=1 << 40)
    with TaskShards(folder, 0, config, {label: at for at, label in enumerate(labels)}) as shards:
        for number in range(clips):
            key = f"clip-{number:06d}"
            clip = Clip(
                key=key, labels=(labels[number % 3],), place="train", group=key, source_id=key,
                wave_S=np.zeros(1, np.float32), rate_hz=1, promised_s=None,
            )  # fmt: skip
            mel_TF = rng.uniform(-80, 0, (frames, bands)).astype(np.float32)
            shards.add(clip, (mel_TF, 10.0))
        entries = tuple(ShardEntry(**shard) for shard in shards.finish()["shards"])
    (folder / REJECTS).touch()
    write_manifest(
        folder, build={"fingerprint": ""}, producer={"mel": MelConfig(bands=bands).to_dict()}, labels=labels,
        single_label=True, shards=entries, table=joined(read_arrays(table_file(folder, e.name)) for e in entries),
        rejected=0, extra={"label_counts": {}},
    )  # fmt: skip
    return Dataset.open(folder)


def many_times(dataset: Dataset, folder: Path, times: int) -> Dataset:
    """Return a data set that holds the shards of a local one so many times over, as links.

    Its clips are read and unpacked like any others; only their keys repeat.
    """
    folder.mkdir(parents=True)
    (folder / REJECTS).touch()
    entries = []
    for number in range(times):
        for shard in dataset.shards:
            name = f"{number:04d}-{shard.name}"
            os.link(Path(dataset.location) / shard.name, folder / name)
            entries.append(replace(shard, name=name))
    write_manifest(
        folder, build={"fingerprint": ""}, producer=dataset.producer, labels=dataset.labels,
        single_label=dataset.single_label, shards=tuple(entries),
        table=joined(times * [read_arrays(Path(dataset.location) / CLIPS)]), rejected=0, extra={"label_counts": {}},
    )  # fmt: skip
    return Dataset.open(folder)


def soundscape_shards(folder: Path, *, clips: int, clip_s: float) -> Dataset:
    """Return soundscapes built by the build job itself."""
    with silent():
        assert build(Build(source=f"soundscapes:{clips},clip_s={clip_s:g}", out=str(folder))) == 0
    return Dataset.open(folder)
