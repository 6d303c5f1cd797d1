"""Random reads of mel over 500 shards, as a shuffled epoch makes them, in one process and out of the page cache.

Expected before measuring, one core: 60,000 clips/s of 1 s ([43, 64] float16), bound by Python (a `pread` of 7 KB takes
2 us, JSON and checks 10); 2 GB/s of clips of 10 s, bound by the copy out of the page cache. Floor: the `pread`s alone.
T frames, F bands.
"""

import os
from pathlib import Path

import numpy as np

from audio_tokens.seeds import generator
from audio_tokens.shards.dataset.manifest import Dataset
from benchmarks.harness import FLOOR, Report
from benchmarks.inputs.mel_shards import many_times, noise_shards

SHARDS, SHARD_CLIPS, DISTINCT_CLIPS, DRAWN = 500, 200, 2_000, 2_000


def bench(report: Report) -> None:
    rates = {}
    for seconds, frames in ((1, 43), (10, 431)):
        distinct = 200 if report.quick else DISTINCT_CLIPS // seconds
        times = 3 if report.quick else SHARDS * SHARD_CLIPS // distinct
        folder = report.folder / f"{seconds}-s"
        base = noise_shards(folder / "base", clips=distinct, frames=frames, bands=64, shard_clips=SHARD_CLIPS)
        dataset = many_times(base, folder / "many", times)
        numbers = generator(0, "random reads", seconds).integers(0, dataset.clips, DRAWN).tolist()
        race = report.race(
            f"{DRAWN:,} clips of {seconds} s out of {dataset.clips:,} in {len(dataset.shards)} shards",
            {
                "Dataset.array": lambda dataset=dataset, numbers=numbers: [dataset.array(n) for n in numbers],  # type: ignore[misc]
                "Dataset.clip": lambda dataset=dataset, numbers=numbers: [dataset.clip(n) for n in numbers],  # type: ignore[misc]
                FLOOR + "pread alone": _bare(dataset, numbers),
            },
            work=DRAWN,
            unit="clips",
        )
        rates[seconds] = DRAWN / race.median_s("Dataset.array")
        report.figures(f"clips of {seconds} s", GB_per_s=rates[seconds] * frames * 64 * 2 / 1e9)
    report.bar("clips/s of 1 s", rates[1], at_least=40_000)


def _bare(dataset: Dataset, numbers: list[int]):
    """Return an action that reads the same bytes from files that are all open."""
    files = [os.open(Path(dataset.location) / shard.name, os.O_RDONLY) for shard in dataset.shards[:250]]
    index_C4 = dataset.table.index_C4
    firsts = np.cumsum([0, *(shard.clips for shard in dataset.shards)])
    shard_D = np.searchsorted(firsts, numbers, side="right") - 1
    begin_D, end_D = index_C4[numbers, 0] - 512, index_C4[numbers, 2] + index_C4[numbers, 3]
    spans = list(zip((shard_D % len(files)).tolist(), begin_D.tolist(), (end_D - begin_D).tolist(), strict=True))
    return lambda: [os.pread(files[shard], length, begin) for shard, begin, length in spans]
