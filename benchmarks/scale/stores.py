"""Artefacts of any number of clips, made of one small part many times over; what reads them reads them like any others.

Only keys repeat. C clips, P positions, T frames, F bands, L labels.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.seeds import generator
from audio_tokens.shards.dataset.clip_table import CLIPS, read_arrays, write_arrays
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.shard_maker import ShardMaker
from audio_tokens.shards.tasks.task_set import TASKS, TaskSet, digest_of, sealed
from audio_tokens.shards.tasks.task_shards import ShardConfig, table_file
from audio_tokens.shards.tokens.token_parts import TokenClip, pack, write_part
from benchmarks.inputs.mel_shards import noise_shards

POSITIONS, VOCABULARY, LABELS = 215, 500, 527
PART_CLIPS, SHARD_CLIPS = 20_000, 1_000
FRAMES, BANDS = 4, 64  # of a clip in the shards: what is measured on them does not grow with their sound
LONG_TAIL = 1.0  # label l is drawn as 1 / (l + 1): the first of 527 on a third of all clips, the last on 0.07 %


def token_store(folder: Path, clips: int) -> Path:
    """Return a store with `clips` clips to train on, and a few to validate and test on."""
    part_clips = min(PART_CLIPS, clips // 4)
    parts = max(3, clips // part_clips)
    write_part(folder / "part.npz", _token_clips(part_clips))
    write_part(folder / "small.npz", _token_clips(max(2, part_clips // 4)))
    attributes = {
        "codebook": "none",
        "dataset": "none",
        "vocab_sizes": [VOCABULARY],
        "labels": [f"label {label}" for label in range(LABELS)],
        "fingerprint": "none",
        "origin": {"places": ["train"]},
    }
    small = [folder / "small.npz"]
    pack(folder / "tokens.zarr", {"train": parts * [folder / "part.npz"], "val": small, "test": small}, attributes)
    return folder / "tokens.zarr"


def _token_clips(clips: int):
    """Yield clips of random tokens, the frequent ones far more often, with one to four labels each."""
    rng = generator(0, "tokens at scale", clips)
    chance_L = (1.0 + np.arange(LABELS)) ** -LONG_TAIL
    labels = rng.choice(LABELS, (clips, 4), p=chance_L / chance_L.sum())
    counts_C = rng.integers(1, 5, clips)
    for number in range(clips):
        yield TokenClip(
            key=f"clip-{number:07d}",
            group=f"recording-{number // 4:07d}",
            label_ids=sorted(set(labels[number, : counts_C[number]].tolist())),
            ids_PQ=(VOCABULARY * rng.random((POSITIONS, 1)) ** 2).astype(np.uint16),
            beside={},
        )


def unfinished_build(folder: Path, clips: int) -> tuple[TaskSet, int]:
    """Return a build all of whose tasks are done and which waits for its commit, and the number of its tasks.

    A task is a shard: a hard link. Its clips' keys are its own, those in the shards repeat.
    """
    base = noise_shards(folder / "base", clips=min(SHARD_CLIPS, clips // 3), frames=FRAMES, bands=BANDS)
    (entry,) = base.shards
    table = read_arrays(folder / "base" / CLIPS)
    shards = folder / "shards"
    tasks = clips // entry.clips
    (shards / TASKS).mkdir(parents=True)
    maker = ShardMaker(
        to_mel=lambda clip: (), config=ShardConfig(), about={"source": "none"},
        producer={"mel": MelConfig(bands=BANDS).to_dict()},
    )  # fmt: skip
    made = TaskSet(
        folder=shards, source=_Labelled(base.labels), maker=maker, clip_timeout_s=0.0, settings="", fingerprint="none"
    )
    (shards / TASKS / "build.json").write_text(json.dumps({"settings": "", "fingerprint": "none"}))
    counts = sorted(enumerate(np.bincount(table["label_ids"], minlength=len(base.labels)).tolist()))
    for index in range(tasks):
        place = ("test", "val")[index] if index < 2 else "train"
        shard = replace(entry, name=f"{place}-{index:06d}-000.tar", place=place)
        os.link(folder / "base" / entry.name, shards / shard.name)
        write_arrays(table_file(shards, shard.name), table)
        record = {
            "task": digest_of(Task(name=str(index), work=index)),
            "clips_in": shard.clips,
            "rejects": [],
            "clips": [(f"clip-{index}-{number}", place, f"{index}/{number}") for number in range(shard.clips)],
            "left_out": "",
            "made": {
                "files": [(shard.name, shard.bytes)],
                "shards": [asdict(shard)],
                "label_counts": {place: counts},
                "single_label": True,
                "notes": [],
            },
        }
        made.record_file(index).write_bytes(sealed(record))
    return made, tasks


class _Labelled:
    """A source that is asked for its labels alone."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def clips(self, task: Task):
        raise AssertionError("all tasks are done")
