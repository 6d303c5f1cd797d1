"""`python -m benchmarks [NAME ...]`: run the benches, print which bars hold; exit code 1 where one does not.

Each runs in a process of its own, on as many cores as it asks for: its memory, threads and cores are no other's.
"""

import argparse
import ast
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from audio_tokens.errors import did_you_mean
from audio_tokens.shards.publish import publish_bytes
from benchmarks.harness import Report, bar_line
from benchmarks.machine import SETTINGS


class Entry(NamedTuple):
    """`module.bench(report)`, on so many cores (0: all of them); its docstring's first line says what it measures."""

    module: str
    cores: int = 1


BENCHES = {
    "mel": Entry("benchmarks.speed.mel"),
    "nearest": Entry("benchmarks.speed.nearest"),
    "nearest-all-cores": Entry("benchmarks.speed.nearest", cores=0),
    "shards": Entry("benchmarks.speed.shard_reading"),
    "random-reads": Entry("benchmarks.speed.random_reads"),
    "kmeans-pass": Entry("benchmarks.speed.kmeans_pass"),
    "build": Entry("benchmarks.speed.build_throughput"),
    "build-workers": Entry("benchmarks.speed.build_workers", cores=0),
    "kmeans-quality": Entry("benchmarks.speed.kmeans_quality"),
    "batches": Entry("benchmarks.speed.batches"),
    "training": Entry("benchmarks.speed.training_step"),
    "encode": Entry("benchmarks.speed.encode_throughput"),
    "kmeans-budget": Entry("benchmarks.scale.kmeans_budget"),
    "memory": Entry("benchmarks.scale.memory_growth", cores=0),
    "build-memory": Entry("benchmarks.scale.build_memory", cores=0),
}
RESULTS = Path(__file__).parent / "results"


def run_here(name: str, target: Path, quick: bool) -> None:
    """Run one bench in this process, which was started for it, and leave its JSON lines in `target`."""
    with tempfile.TemporaryDirectory() as folder, target.open("w") as file:
        report = Report(name, quick=quick, folder=Path(folder), file=file)
        importlib.import_module(BENCHES[name].module).bench(report)


def run_apart(name: str, results: Path | None, quick: bool) -> list[dict[str, Any]] | None:
    """Run one bench in its own process and return its bars, none where it failed.

    Its JSON lines replace those of its last run in `results`, if there is such a folder and the bench ended.
    """
    all_cores = os.sched_getaffinity(0)
    cores = sorted(all_cores)[: BENCHES[name].cores or None]
    environment = os.environ | {variable: str(len(cores)) for variable in SETTINGS if variable.endswith("_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{name}.jsonl"
        words = [sys.executable, "-m", "benchmarks", name, "--here", str(target), *(["--quick"] if quick else [])]
        os.sched_setaffinity(0, cores)  # a child inherits it
        try:
            if subprocess.run(words, env=environment, check=False).returncode:
                return None
        finally:
            os.sched_setaffinity(0, all_cores)
        lines = target.read_bytes()
    if results:
        publish_bytes(results / target.name, lines)
    return [row for row in map(json.loads, lines.splitlines()) if row["kind"] == "bar"]


def about(name: str) -> str:
    """Return a bench's docstring, without importing what it measures."""
    source = (RESULTS.parents[1] / Path(*BENCHES[name].module.split("."))).with_suffix(".py")
    return ast.get_docstring(ast.parse(source.read_text())) or ""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all unless given: {', '.join(BENCHES)}")
    parser.add_argument("--list", action="store_true", help="say what there is and leave")
    parser.add_argument("--quick", action="store_true", help="few short rounds on little data; results are not kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the JSON lines")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args(argv)
    for name in words.names:
        if name not in BENCHES:
            parser.error(f"unknown bench {name!r}; {did_you_mean(name, BENCHES)}")
    names = words.names or list(BENCHES)
    if words.list:
        for name in names:
            print(f"{name:18} {about(name).splitlines()[0]}")
        return 0
    if words.here:
        run_here(names[0], words.here, words.quick)
        return 0
    found = {name: run_apart(name, None if words.quick else words.results, words.quick) for name in names}
    print("\nBars")
    for name, bars in found.items():
        for line in ["FAILS: the bench did not end"] if bars is None else map(bar_line, bars):
            print(f"  {name:18} {line}")
    return int(not all(bars is not None and all(bar["holds"] for bar in bars) for bars in found.values()))


if __name__ == "__main__":
    sys.exit(main())
