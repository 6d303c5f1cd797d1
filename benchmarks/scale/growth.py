"""From 1,000 to 100,000 clips of 1 s: how time and memory of every stage grow. `python -m benchmarks.scale.growth`

    python -m benchmarks.scale.growth [--plan] [--quick] [--results DIR]

Every stage is the command itself, on one core beside the one that watches it; the data are soundscapes. Processor time
is taken to be  start-up + b * clips ** exponent,  of which start-up cancels in the differences between three sizes that
are each the same multiple of the one before. A machine that others share is a tenth faster in one minute than in
another: a stage's smaller sizes are run several times around its largest, and their medians count. Training and
evaluation take less on the smallest set than one start-up differs from another: of them counts the least of those that
follow in the same process, which have none. `cluster` fits to so many vectors as the smallest set has; with all of
them, beside it, the number of passes follows the data: no law. `--plan` also calibrates `audio-tokens plan` on a tenth
of the largest set and compares the seconds that it tells of that set with those measured. Exit code 1 where a bar
falls.

Expected before measuring: all exponents 1.00 +- 0.03; memory of build, cluster and encode within 5 % (the tables of
clips, 100 bytes each, beside some 100 MB); train and evaluate some 200 bytes a clip (43 of them tokens, 4 a label);
plan within 10 %, train and evaluate farthest off. With `--plan` 17 minutes, without it 14.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, median_low
from typing import NamedTuple

from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.jobs.bill.calibrate import EPOCHS, LEAST_CLIPS, commands
from audio_tokens.jobs.bill.in_turn import command_of, turns_of
from audio_tokens.jobs.bill.work import Work
from audio_tokens.shards.publish import publish_bytes
from benchmarks import machine
from benchmarks.harness import Report
from benchmarks.scale.peak_memory import Peak, peak_memory
from benchmarks.svg import blank, svg

RESULTS = Path(__file__).parents[1] / "results"
CLIP_S = 1


class Sizes(NamedTuple):
    """Three numbers of clips, how often each is run, and vectors that `cluster` is fitted to."""

    clips: tuple[int, int, int]
    runs: tuple[int, int, int]
    budget: int


SIZES = Sizes((1_000, 10_000, 100_000), (4, 2, 1), 15_000)
QUICK = Sizes((100, 300, 900), (1, 1, 1), 1_500)
ALL_VECTORS = "cluster, all vectors"
STAGES = ("build", "cluster", ALL_VECTORS, "encode", "train token-linear", "evaluate")
# What plan calls a stage here; it tells of k-means on all vectors, since its own budget is larger than the largest set.
PLANNED = {stage: stage.partition(",")[0] for stage in STAGES if stage != "cluster"}
FLAT = ("build", "cluster", "encode")
LIGHT, AGAIN = ("train token-linear", "evaluate"), 3
MOST_GROWTH, MOST_OFF = 1.1, 0.15


@dataclass(frozen=True)
class Grown:
    """A stage at three sizes."""

    clips: tuple[int, ...]
    cpu_s: tuple[float, ...]
    elapsed_s: tuple[float, ...]
    peak_bytes: tuple[int, ...]

    @property
    def exponent(self) -> float:
        """Not a number where time did not grow."""
        first, second, third = self.cpu_s
        growth = (third - second) / (second - first) if second > first else math.nan
        return math.log(growth) / math.log(self.clips[1] / self.clips[0]) if growth > 0 else math.nan

    @property
    def start_up_s(self) -> float:
        """Seconds of processor that any number of clips takes."""
        first, second, _ = self.cpu_s
        return first - (second - first) / ((self.clips[1] / self.clips[0]) ** self.exponent - 1)

    @property
    def bytes_a_clip(self) -> float:
        """Memory that a clip takes, between the two larger sizes."""
        return (self.peak_bytes[2] - self.peak_bytes[1]) / (self.clips[2] - self.clips[1])


def measured(sizes: Sizes, folder: Path) -> dict[str, Grown]:
    """Run all stages on all sizes."""
    runs = [
        ((run + 0.5) / times, clips, stages_of(clips, sizes.budget, folder / f"{clips}-{run}"))
        for clips, times in zip(sizes.clips, sizes.runs, strict=True)
        for run in range(times)
    ]
    runs.sort(key=lambda run: run[0])
    grown = {}
    for stage in STAGES:
        found: dict[int, list[Peak]] = {clips: [] for clips in sizes.clips}
        for _, clips, stages in runs:
            words, out = stages[stage]
            found[clips].append(peak := _peak(words, out, AGAIN if stage in LIGHT else 0, folder))
            print(f"  {clips:,} clips, {stage}: {peak.cpu_s:.2f} s, {peak.total_bytes / 1e6:.0f} MB", flush=True)
        peaks = found.values()
        grown[stage] = Grown(
            clips=sizes.clips,
            cpu_s=tuple(median(peak.cpu_s for peak in each) for each in peaks),
            elapsed_s=tuple(median(peak.seconds for peak in each) for each in peaks),
            peak_bytes=tuple(median_low(peak.total_bytes for peak in each) for each in peaks),
        )
    return grown


def stages_of(clips: int, budget: int, at: Path) -> dict[str, tuple[list[str], Path]]:
    """Return the command line of every stage on so many clips, and what it writes."""
    positions_s = MelConfig().rate_hz / MelConfig().hop_samples / SliceConfig().stride
    every = Work(clips=clips, clip_s=CLIP_S, positions_s=positions_s, budget=0, epochs=EPOCHS)
    few = replace(every, budget=budget)
    lines = commands(f"soundscapes:{clips},clip_s={CLIP_S}", at, every, few, whole=True)
    return {
        ALL_VECTORS if (stage, work.budget) == ("cluster", 0) else stage: (words, out)
        for stage, work, words, out in lines
    }


def _peak(words: Sequence[str], out: Path, again: int, folder: Path) -> Peak:
    """Run a command, and then as often again; seconds elapsed are the first's, of the processor the least after it."""
    lines = [[f"{word}-{turn}" if turn and word == str(out) else word for word in words] for turn in range(1 + again)]
    os.sync()  # what was written before is not waited for now
    with (folder / "printed").open("w+") as printed, (folder / "log").open("w+") as log:
        alone = ["env", "OMP_NUM_THREADS=1", "CUDA_VISIBLE_DEVICES="]
        peak = peak_memory([*alone, *command_of(lines)], stdout=printed, stderr=log)
        for file in (printed, log):
            file.seek(0)
        assert peak.exit_code == 0, log.read()
        turns = turns_of(printed.read())[1:]
    if not turns:
        return peak
    return peak._replace(
        seconds=peak.seconds - sum(turn.elapsed_s for turn in turns), cpu_s=min(turn.cpu_s for turn in turns)
    )


def judge(report: Report, grown: Mapping[str, Grown]) -> None:
    """Note every stage's growth, and hold it against its bars; a quick run is too short for any."""
    for stage, found in grown.items():
        for at, clips in enumerate(found.clips):
            report.figures(
                f"{stage}, {clips:,} clips",
                cpu_s=found.cpu_s[at],
                elapsed_s=found.elapsed_s[at],
                peak_MB=found.peak_bytes[at] / 1e6,
            )
        report.figures(
            stage, exponent=found.exponent, start_up_s=found.start_up_s, bytes_a_clip=round(found.bytes_a_clip)
        )
        if report.quick or stage == ALL_VECTORS:
            continue
        report.bar(
            f"{stage}: exponent of time",
            found.exponent,
            at_least=None if stage == "cluster" else 0.95,
            at_most=1.05,
        )
        if stage in FLAT:
            grows = found.peak_bytes[2] / found.peak_bytes[0]
            report.bar(f"{stage}: peak memory, largest over smallest", grows, at_most=MOST_GROWTH)


def planned(clips: int, calibrated_on: int, folder: Path) -> dict[str, float]:
    """Calibrate `plan` and return the seconds of one core that it tells for so many clips, by stage."""
    words = f"plan --rates {folder}/rates.json --calibrate {calibrated_on} --clip_s {CLIP_S} --epochs {EPOCHS}"
    with (folder / "plan.json").open("w+") as told, (folder / "log").open("w+") as log:
        words += f" --clips {clips} --cores 1 --sound_kb_s 0 --json true --quiet"
        command = [sys.executable, "-m", "audio_tokens.jobs.cli", *words.split()]
        peak = peak_memory(command, stdout=told, stderr=log)
        log.seek(0)
        assert peak.exit_code == 0, log.read()
        told.seek(0)
        return {item["stage"]: 3600 * item["core_hours"] for item in json.load(told)["stages"]}


def compare(report: Report, grown: Mapping[str, Grown], plan_s: Mapping[str, float]) -> dict[str, float]:
    """Hold what `plan` tells of the largest set against what was measured; return the ratios by stage."""
    ratios = {}
    for stage, name in PLANNED.items():
        took_s, told_s = grown[stage].elapsed_s[-1], plan_s[name]
        ratios[stage] = told_s / took_s
        report.figures(f"plan, {stage}", planned_s=told_s, measured_s=took_s)
        if not report.quick:
            report.bar(
                f"{stage}: seconds planned over measured", ratios[stage], at_least=1 - MOST_OFF, at_most=1 + MOST_OFF
            )
    return ratios


def table(grown: Mapping[str, Grown], ratios: Mapping[str, float]) -> str:
    """Return the stages as a page."""
    clips = next(iter(grown.values())).clips
    columns = [f"{unit} at {number:,}" for unit in ("CPU s", "peak MB") for number in clips]
    heads = ["stage", *columns[:3], "start-up s", "exponent", *columns[3:], "bytes a clip", "plan / measured"]
    lines = [
        f"# From {clips[0]:,} to {clips[-1]:,} clips of {CLIP_S} s",
        "",
        f"By `python -m benchmarks.scale.growth --plan` on one core of {machine.describe()['machine']['processor']}.",
        "",
        "![processor time and memory against the number of clips](growth.svg)",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
    ]
    for stage, found in grown.items():
        cells = [stage, *(f"{cpu_s:,.2f}" for cpu_s in found.cpu_s), f"{found.start_up_s:.2f}", f"{found.exponent:.3f}"]
        cells += [*(f"{held / 1e6:,.0f}" for held in found.peak_bytes), f"{found.bytes_a_clip:,.0f}"]
        lines.append(f"| {' | '.join([*cells, f'{ratios[stage]:.2f}' if stage in ratios else ''])} |")
    return "\n".join(lines) + "\n"


def plot(grown: Mapping[str, Grown]) -> bytes:
    """Return time without start-up, and memory, against the number of clips, as SVG."""
    figure = blank(10, 4)
    time, memory = figure.subplots(1, 2)
    for stage, found in grown.items():
        time.plot(found.clips, [cpu_s - found.start_up_s for cpu_s in found.cpu_s], "o-", label=stage)
        memory.plot(found.clips, [held / 1e6 for held in found.peak_bytes], "o-", label=stage)
    time.set(xscale="log", yscale="log", xlabel="clips", ylabel="processor s, start-up subtracted")
    memory.set(xscale="log", xlabel="clips", ylabel="peak memory, MB", ylim=(0, None))
    time.grid(alpha=0.3)
    memory.grid(alpha=0.3)
    time.legend()
    return svg(figure)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.growth", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="calibrate plan, and compare what it tells")
    parser.add_argument("--quick", action="store_true", help="few clips and no bars; results are not kept")
    parser.add_argument("--results", type=Path, help="the folder of growth.jsonl, growth.md and growth.svg")
    words = parser.parse_args(argv)
    sizes, results = (QUICK, words.results) if words.quick else (SIZES, words.results or RESULTS)
    with tempfile.TemporaryDirectory() as place:
        folder, lines = Path(place), Path(place) / "growth.jsonl"
        with lines.open("w") as file:
            report = Report("growth", quick=words.quick, folder=folder, file=file)
            grown = measured(sizes, folder)
            judge(report, grown)
            ratios = {}
            if words.plan:
                ratios = compare(report, grown, planned(sizes.clips[2], max(sizes.clips[1], LEAST_CLIPS), folder))
        if results is not None:
            publish_bytes(results / "growth.jsonl", lines.read_bytes())
            publish_bytes(results / "growth.md", table(grown, ratios).encode())
            publish_bytes(results / "growth.svg", plot(grown))
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
