"""What the artefacts cost at any number of clips, row by row: `python -m benchmarks.at_scale --clips 2000000`.

    python -m benchmarks.at_scale [--clips N] [--results DIR] [ROW ...]

Stores and shards of that size are made of one small part many times over (scale/stores.py). Every row runs in a process
of its own, on one core: seconds of CPU (what a machine takes that does nothing else), seconds elapsed, and the most
memory it ever had resident: its libraries (torch alone: 0.65 GB) and what it has touched of mapped tokens, which all
processes of a machine share, included. Exit code 1 where a bar falls.

Expected before measuring, at 2,000,000 clips of 215 positions: to open tokens, 1 s and 1 GB (they are mapped; each is
read once to be checked); shards, 1 s and 1 GB; an evaluation of 20,000 x 527 0.6 s; 1,000 bootstrap samples 20 s; the
commit of 2,000 tasks 20 s and 0.7 GB; all rows within 10 minutes and 3 GB of disk.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audio_tokens.errors import did_you_mean
from audio_tokens.shards.publish import publish_bytes
from benchmarks import machine
from benchmarks.harness import Report
from benchmarks.machine import SETTINGS
from benchmarks.scale.peak_memory import own_peak_bytes
from benchmarks.scale.rows import ROWS

RESULTS = Path(__file__).parent / "results"
GB = 1e9


class Bar(NamedTuple):
    """The most seconds of CPU, and the most memory."""

    cpu_s: float
    peak_bytes: float | None = None


BARS = {
    "open tokens": Bar(3, 1.5 * GB),
    "open shards": Bar(3, 1.5 * GB),
    "commit of a build": Bar(120, 2 * GB),
    "evaluation": Bar(1.5),
    "bootstrap": Bar(60),
}

# CPU s and GB of the code before it was made for this size (revision 3253eeb), each measured once on a busy core:
# stores of its own formats, made alike. Its commit left to every opening what a commit does now; its bootstrap is that
# of 32 labels times 527 / 32.
BEFORE: dict[str, tuple[float, float]] = {
    "commit of a build": (3.60, 0.97),
    "open tokens": (8.39, 3.46),
    "open shards": (55.48, 2.21),
    "order of an epoch, tokens": (0.09, 3.47),
    "order of an epoch, by weight": (1.97, 3.55),
    "order of an epoch, mel": (0.13, 2.21),
    "open and first batch, tokens": (8.30, 3.43),
    "open and first batch, mel": (61.10, 2.21),
    "1,000 batches of 64, tokens": (0.35, 3.38),
    "1,000 batches of 64, mel": (34.20, 2.21),
    "evaluation": (11.53, 1.01),
    "bootstrap": (1080.0, 2.04),
    "describe tokens": (6.38, 3.14),
    "describe shards": (0.10, 0.88),
    "verify tokens": (6.77, 3.04),
    "verify shards": (70.99, 0.88),
}


def run_here(name: str, folder: Path, clips: int) -> dict[str, Any]:
    """Run one row in this process, which was started for it."""
    action = ROWS[name](folder, clips)
    start, cpu_start = time.perf_counter(), time.process_time()
    said = action()
    return {
        "cpu_s": time.process_time() - cpu_start,
        "elapsed_s": time.perf_counter() - start,
        "peak_bytes": own_peak_bytes(),
        "said": said,
    }


def run_apart(name: str, folder: Path, clips: int) -> dict[str, Any]:
    """Run one row in a process of its own. Raises CalledProcessError where it fails."""
    environment = os.environ | {variable: "1" for variable in SETTINGS if variable.endswith("_NUM_THREADS")}
    words = [sys.executable, "-m", "benchmarks.at_scale", name, "--clips", str(clips), "--here", str(folder)]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(report: Report, name: str, folder: Path, clips: int) -> dict[str, Any]:
    """Run one row apart, note its figures and judge them where there is a bar."""
    row = run_apart(name, folder, clips)
    report.figures(f"{name}, {clips:,} clips", **row)
    if name in BARS:
        report.bar(f"{name}: seconds of CPU", row["cpu_s"], at_most=BARS[name].cpu_s)
        if BARS[name].peak_bytes is not None:
            report.bar(f"{name}: most resident bytes", float(row["peak_bytes"]), at_most=BARS[name].peak_bytes)
    return row


def table(clips: int, found: dict[str, dict[str, Any]]) -> str:
    """Return the rows as a page."""
    processor = machine.describe()["machine"]["processor"]
    lines = [
        f"# At {clips:,} clips",
        "",
        f"By `python -m benchmarks.at_scale --clips {clips}` on one core of {processor}.",
        "",
        "Before: the code of revision 3253eeb, before any of it was made for this size.",
        "",
        "| row | CPU s before | CPU s | elapsed s | resident GB before | most resident GB | what |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        bar = BARS.get(name)
        in_time = f" (bar {bar.cpu_s:g})" if bar else ""
        in_memory = f" (bar {bar.peak_bytes / GB:g})" if bar and bar.peak_bytes else ""
        cpu_s, held_GB = (f"{figure:.2f}" for figure in BEFORE[name]) if name in BEFORE else ("", "")
        lines.append(
            f"| {name} | {cpu_s} | {row['cpu_s']:.2f}{in_time} | {row['elapsed_s']:.2f} | "
            f"{held_GB} | {row['peak_bytes'] / GB:.2f}{in_memory} | {row['said']} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.at_scale", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="ROW", help=f"all unless given: {', '.join(ROWS)}")
    parser.add_argument("--clips", type=int, default=2_000_000)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of at-scale.jsonl and at-scale.md")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args(argv)
    for name in words.names:
        if name not in ROWS:
            parser.error(f"unknown row {name!r}; {did_you_mean(name, ROWS)}")
    if words.here:
        print(json.dumps(run_here(words.names[0], words.here, words.clips)))
        return 0
    with tempfile.TemporaryDirectory() as place:
        folder, lines = Path(place), Path(place) / "at-scale.jsonl"
        with lines.open("w") as file:
            report = Report("at-scale", quick=False, folder=folder, file=file)
            found = {name: told(report, name, folder, words.clips) for name in words.names or ROWS}
        publish_bytes(words.results / "at-scale.jsonl", lines.read_bytes())
        publish_bytes(words.results / "at-scale.md", table(words.clips, found).encode())
    return 0 if report.held else 1


if __name__ == "__main__":
    sys.exit(main())
