"""Peak anonymous memory of a command and everything it starts: `python -m benchmarks.scale.peak_memory -- COMMAND ...`

Beside it, the processor time of all these processes, each as it was last seen.

RssAnon is what a process has of its own: not the mapped shards, which the kernel takes back at will. It is summed over
the process tree (forked pages count once per process that shares them: an upper bound) and sampled every 50 ms.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SAMPLE_S = 0.05
PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Peak(NamedTuple):
    """`total_bytes` is the highest sum over the tree at one moment, `process_bytes` the highest of one process."""

    total_bytes: int
    process_bytes: int
    processes: int
    seconds: float
    cpu_s: float
    exit_code: int


class Held(NamedTuple):
    """What a process has of its own, and how long it has worked so far."""

    anonymous_bytes: int
    cpu_s: float


def peak_memory(command: Sequence[str], **options) -> Peak:
    """Run a command to its end and return the peaks; `options` go to subprocess.Popen."""
    total, single, most = 0, 0, 0
    cpu_s: dict[int, float] = {}
    start = time.monotonic()
    with subprocess.Popen(command, **options) as process:
        while process.poll() is None:
            tree = tree_held(process.pid)
            sample = {pid: held.anonymous_bytes for pid, held in tree.items()}
            cpu_s |= {pid: max(held.cpu_s, cpu_s.get(pid, 0.0)) for pid, held in tree.items()}
            total, most = max(total, sum(sample.values())), max(most, len(sample))
            single = max([single, *sample.values()])
            time.sleep(SAMPLE_S)
    return Peak(total, single, most, time.monotonic() - start, sum(cpu_s.values()), process.returncode)


def tree_bytes(root: int) -> dict[int, int]:
    """Return the anonymous memory of `root` and of each of its descendants alive now, by process id."""
    return {pid: held.anonymous_bytes for pid, held in tree_held(root).items()}


def tree_held(root: int) -> dict[int, Held]:
    """Return what `root` and each of its descendants alive now hold, by process id."""
    parents: dict[int, int] = {}
    anonymous: dict[int, int] = {}
    for status in PROC.glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        pid = int(status.parent.name)
        parents[pid] = int(fields["PPid"])
        anonymous[pid] = 1024 * int(fields.get("RssAnon", "0 kB").split()[0])  # a zombie has none
    tree = {root}
    while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return {pid: Held(anonymous[pid], _cpu_s(pid)) for pid in tree if pid in anonymous}


def _cpu_s(pid: int) -> float:
    """Return how long a process has worked so far, in user and in system mode; 0 of one that has ended meanwhile."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def own_peak_bytes() -> int:
    """Return the most memory that this process ever had resident, what it maps of files included.

    getrusage would count what the parent held when it started this process.
    """
    (line,) = [line for line in (PROC / "self" / "status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main(argv: Sequence[str]) -> int:
    command = argv[1:] if argv[:1] == ["--"] else list(argv)
    if not command:
        print("usage: python -m benchmarks.scale.peak_memory -- COMMAND ...", file=sys.stderr)
        return 2
    peak = peak_memory(command)
    print(
        f"peak anonymous memory {peak.total_bytes / 1e6:,.1f} MB over {peak.processes} processes, "
        f"{peak.process_bytes / 1e6:,.1f} MB in one; {peak.seconds:.1f} s, {peak.cpu_s:.1f} s of processors",
        file=sys.stderr,
    )
    return peak.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
