"""A Dask cluster of separate processes on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen]:
    # Dask forgives a task one dead worker here (three by default).
    forgiving = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    environment = os.environ | forgiving | {"PYTHONPATH": str(Path(__file__).parents[3])}
    running = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler and workers, each a process with a nanny; yields the scheduler's address."""
    with ExitStack() as stack:
        file = folder / "scheduler.json"
        words = ("--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
        stack.enter_context(process(sys.executable, "-m", "distributed.cli.dask_scheduler", *words))
        while not file.exists():
            time.sleep(0.05)
        for _ in range(workers):
            words = ("--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard")
            words = (*words, "--local-directory", str(folder))
            stack.enter_context(process(sys.executable, "-m", "distributed.cli.dask_worker", *words))
        from distributed import Client

        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(workers, timeout=60)
            yield client.scheduler.address
