"""Peak anonymous memory of build, cluster and encode as the data grow fourfold: it must not follow them.

Expected before measuring, from 4,000 to 16,000 soundscapes of 4 s (0.34 to 1.4 million vectors): build, 2 to 4 MB more
of some 150 (about 200 bytes of record and key a clip, in the parent at the commit); cluster and encode, under 2 %
(8-byte offsets, the plan of blocks, the parts' lengths).
"""

import sys
from pathlib import Path

from benchmarks.harness import Report
from benchmarks.memory import Peak, peak_memory

CLIPS = (4_000, 16_000)
QUICK_CLIPS = (1_200, 2_400)
WORKERS = "2"


def bench(report: Report) -> None:
    sizes = QUICK_CLIPS if report.quick else CLIPS
    peaks = [_stages(report.folder, clips) for clips in sizes]
    for stage in peaks[0]:
        small, large = (peaks_of[stage] for peaks_of in peaks)
        for clips, peak in zip(sizes, (small, large), strict=True):
            report.figures(
                f"{stage}, {clips} clips",
                peak_MB=peak.total_bytes / 1e6,
                largest_process_MB=peak.process_bytes / 1e6,
                processes=peak.processes,
                seconds=peak.seconds,
            )
        report.bar(
            f"{stage}: peak from {sizes[0]} to {sizes[1]} clips", large.total_bytes / small.total_bytes, at_most=1.1
        )


def _stages(root: Path, clips: int) -> dict[str, Peak]:
    folder = root / str(clips)
    shards, codebook, tokens = (str(folder / name) for name in ("shards", "codebook", "tokens.zarr"))
    commands = {
        "build": ["build", "--source", f"soundscapes:{clips},clip_s=4", "--out", shards, "--workers", WORKERS],
        "cluster": ["cluster", "--shards", shards, "--out", codebook],
        "encode": ["encode", "--shards", shards, "--codebook", codebook, "--out", tokens, "--workers", WORKERS],
    }
    peaks = {}
    for stage, words in commands.items():
        with (root / f"{stage}-{clips}.log").open("w+") as log:
            peaks[stage] = peak_memory([sys.executable, "-m", "jobs.cli", *words], stdout=log, stderr=log)
            log.seek(0)
            assert peaks[stage].exit_code == 0, log.read()
    return peaks
