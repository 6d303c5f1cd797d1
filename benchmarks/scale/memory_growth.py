"""Peak anonymous memory of cluster and encode from 10^6 to 3 x 10^7 slices: it must not follow the data.

The large data set (70,000 clips of 10 s, a thirtieth of AudioSet) is one shard linked many times over, every clip of it
read each time.

Expected before measuring: under 2 % more (the plan of blocks, 24 bytes a block of clips; the parts' lengths and 8-byte
offsets).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Report
from benchmarks.inputs.mel_shards import many_times, noise_shards
from benchmarks.scale.peak_memory import Peak, peak_memory

# A shard of a quarter of a million slices; four of them at least, so that both sizes are encoded by as many workers.
FRAMES, SHARD_CLIPS, TIMES = 431, 580, (4, 120)
QUICK_SHARD_CLIPS, QUICK_TIMES = 150, (4, 16)
WORKERS = "2"
# One frame a slice and a small codebook: what grows with the data is the same as for any recipe, and it ends sooner.
RECIPE = """\
slices: {contexts: [1], stride: 1, whiten_dims: 16}
kmeans: {clusters: [50], batch_epochs: 1, passes: 1}
"""


def bench(report: Report) -> None:
    (report.folder / "recipe.yaml").write_text(RECIPE)
    clips = QUICK_SHARD_CLIPS if report.quick else SHARD_CLIPS
    shard = noise_shards(report.folder / "shard", clips=clips, frames=FRAMES, bands=64)
    peaks: dict[str, list[Peak]] = {"cluster": [], "encode": []}
    slices = []
    for times in QUICK_TIMES if report.quick else TIMES:
        dataset = many_times(shard, report.folder / f"times-{times}", times)
        slices.append(f"{sum(entry.frames for entry in dataset.shards):,} slices")
        shards, codebook, tokens = dataset.location, f"{dataset.location}-codebook", f"{dataset.location}-tokens.zarr"
        recipe = str(report.folder / "recipe.yaml")
        for words in (
            ["cluster", "--shards", shards, "--out", codebook, "--recipe", recipe],
            ["encode", "--shards", shards, "--codebook", codebook, "--out", tokens, "--workers", WORKERS],
        ):
            peaks[words[0]].append(_peak(report.folder, words))
    for stage, found in peaks.items():
        _judge(report, stage, slices, found)


def _judge(report: Report, stage: str, sizes: Sequence[str], peaks: Sequence[Peak]) -> None:
    for size, peak in zip(sizes, peaks, strict=True):
        report.figures(
            f"{stage}, {size}",
            peak_MB=peak.total_bytes / 1e6,
            largest_process_MB=peak.process_bytes / 1e6,
            processes=peak.processes,
            seconds=peak.seconds,
        )
    small, large = peaks
    report.bar(f"{stage}: peak from {sizes[0]} to {sizes[1]}", large.total_bytes / small.total_bytes, at_most=1.1)


def _peak(folder: Path, words: Sequence[str]) -> Peak:
    with (folder / "log").open("w+") as log:
        peak = peak_memory([sys.executable, "-m", "audio_tokens.jobs.cli", *words], stdout=log, stderr=log)
        log.seek(0)
        assert peak.exit_code == 0, log.read()
    return peak
