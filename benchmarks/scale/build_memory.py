"""Anonymous memory of a build's parent and of each worker over 100,000 clips: flat from the 10,000th on.

Expected before measuring, with soundscapes of 1 s: workers under 2 % (a task is 250 clips, whatever came before);
the parent, at the commit, 8 bytes a clip of hashes and its test clips' keys: 2 MB of some 100.
"""

import subprocess
import sys
import time
from pathlib import Path

from audio_tokens.shards.sources.registry import open_source
from audio_tokens.shards.tasks.task_set import TASKS
from benchmarks.harness import Report
from benchmarks.scale.peak_memory import SAMPLE_S, tree_bytes

CLIPS, QUICK_CLIPS = 100_000, 4_000
SETTLED_SHARE = 0.1  # of the clips: what is held then may grow by a tenth
WORKERS = 2


def bench(report: Report) -> None:
    clips = QUICK_CLIPS if report.quick else CLIPS
    source, folder = f"soundscapes:{clips},clip_s=1", report.folder / "shards"
    words = ["build", "--source", source, "--out", str(folder), "--workers", str(WORKERS)]
    task_clips = clips / len(open_source(source).tasks())
    settled: dict[int, int] = {}
    later: dict[int, int] = {}
    done, start = 0.0, time.monotonic()
    with (
        (report.folder / "build.log").open("w+") as log,
        subprocess.Popen([sys.executable, "-m", "audio_tokens.jobs.cli", *words], stdout=log, stderr=log) as build,
    ):
        while build.poll() is None:
            done = max(done, task_clips * _finished(folder / TASKS))
            peaks = settled if done <= SETTLED_SHARE * clips else later
            for process, held in tree_bytes(build.pid).items():
                peaks[process] = max(peaks.get(process, 0), held)
            time.sleep(2 * SAMPLE_S)
        log.seek(0)
        assert build.returncode == 0, log.read()
    seconds = time.monotonic() - start
    assert later.keys() <= settled.keys(), "a worker was replaced"
    # Beside the workers there are a fork server and its helpers, which hold next to nothing.
    workers = sorted(settled.keys() - {build.pid}, key=lambda process: settled[process])[-WORKERS:]
    for name, process in (("parent", build.pid), *((f"worker {number}", pid) for number, pid in enumerate(workers))):
        before, after = settled[process], later[process]
        report.figures(f"{name}, {clips} clips", settled_MB=before / 1e6, peak_MB=after / 1e6, seconds=seconds)
        report.bar(f"{name}: peak over that of the first tenth of {clips} clips", after / before, at_most=1.1)


def _finished(tasks: Path) -> int:
    return sum(1 for path in tasks.glob("[0-9]*.json")) if tasks.is_dir() else 0
