"""Reading local mel shards in samples/s: ours beside webdataset's own .decode(), equal samples.

Expected before measuring, one core, [431, 64] float16, file in the page cache: ours 60,000 to 90,000 samples/s with
every array copied out (20,000 to 40,000 of that time is parsing JSON); webdataset with .decode() 4,500 to 8,500; the
floors: reading the file's bytes 30,000 to 40,000 (one copy), and walking over the headers of the mapped file.
T frames, F bands.
"""

from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.harness import FLOOR, Report
from benchmarks.mel_shards import noise_shards
from shards.dataset import Dataset


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

    contenders = {
        "Dataset.read": ours,
        "opened anew": reopened,
        "webdataset .decode()": lambda: peer(decode=True),
        "webdataset, bytes only": lambda: peer(decode=False),
        FLOOR + "read the file": tar.read_bytes,
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
