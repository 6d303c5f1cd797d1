"""Reading local mel shards in samples/s: ours beside webdataset's own .decode(), equal samples.

Expected before measuring, one core, [431, 64] float16, file in the page cache: ours 60,000 to 90,000 samples/s with
every array copied out (a third of the time parses JSON); webdataset with .decode() 4,500 to 8,500; the
bytes of the file read at once 30,000 to 40,000; the floor, one copy of each array out of the mapped file, 150,000.
T frames, F bands.
"""

import mmap
import os
from itertools import islice
from pathlib import Path

import numpy as np

from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.dataset.tar_shard import ShardReader
from benchmarks.harness import FLOOR, Report
from benchmarks.inputs.mel_shards import noise_shards


def bench(report: Report) -> None:
    clips = 200 if report.quick else 2_000
    dataset = noise_shards(report.folder / "shards", clips=clips, frames=431, bands=64)
    tar = Path(dataset.location) / dataset.shards[0].name

    def ours() -> float:
        return sum(_touch(sample.array_TF) + len(sample.meta) for sample in dataset.read(0))

    def reopened() -> float:
        return sum(_touch(sample.array_TF) for sample in Dataset.open(dataset.location).read(0))

    def peer(decode: bool) -> float:
        samples = _webdataset(tar).decode() if decode else _webdataset(tar)
        return sum(_touch(sample["mel.npy"]) if decode else len(sample["mel.npy"]) for sample in samples)

    view = memoryview(mmap.mmap(os.open(tar, os.O_RDONLY), 0, access=mmap.ACCESS_READ))
    spans = [(start, start + array_bytes) for start, array_bytes, *_ in ShardReader(tar).index_C4.tolist()]

    def copies() -> None:
        for start, stop in spans:
            bytes(view[start:stop])

    contenders = {
        "Dataset.read": ours,
        "opened anew": reopened,
        "webdataset .decode()": lambda: peer(decode=True),
        "webdataset, bytes only": lambda: peer(decode=False),
        "reading the whole file": tar.read_bytes,
        FLOOR + "copies out of the mapping": copies,
    }
    race = report.race(f"{clips} samples [431, 64]", contenders, work=clips, unit="samples")
    report.bar("speed over webdataset .decode()", race.speedup("webdataset .decode()"), at_least=5)
    report.bar("share of equal samples", _equal_share(dataset, tar, clips), at_least=1)


def _touch(array_TF: np.ndarray) -> float:
    """Copy a sample out of the file, as whoever trains on it must, and read a value of the copy."""
    return float(array_TF.copy()[-1, -1])


def _webdataset(tar: Path):
    import webdataset

    return webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)


def _equal_share(dataset: Dataset, tar: Path, clips: int) -> float:
    pairs = zip(dataset.read(0), islice(iter(_webdataset(tar).decode()), clips), strict=True)
    equal = [
        ours.key == theirs["__key__"]
        and np.array_equal(ours.array_TF, theirs["mel.npy"])
        and ours.meta == theirs["json"]
        for ours, theirs in pairs
    ]
    return sum(equal) / clips
