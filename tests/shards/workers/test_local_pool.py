"""The pool of this machine's processes goes on where it breaks as a whole, or loses a lock with a worker."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pebble.pool.base_pool import PoolStatus

from audio_tokens.shards.workers.local_pool import LocalPool, local_pool
from audio_tokens.shards.workers.retry import call_all


def test_a_broken_pool_is_another_one() -> None:
    """Fault: a worker that died with the pool's own lock in its hand ended the whole command in a traceback."""
    with local_pool(1) as executor:
        assert isinstance(executor, LocalPool)
        assert executor.submit(abs, -1).result() == 1
        executor.pool._context.status = PoolStatus.ERROR  # as pebble does where its lock is not given back
        assert executor.submit(abs, -2).result() == 2


def square(number: int, folder: str, lock: str) -> int:
    """Return the square; the first worker asked for 3 takes a lock of its pool's channel and is killed."""
    from pebble.pool.channel import WorkerChannel

    flag = Path(folder) / "killed"
    if number == 3 and not flag.exists():
        flag.touch()
        (channel,) = [found for found in gc.get_objects() if isinstance(found, WorkerChannel)]
        getattr(channel.mutex, lock).acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3 * (number % 3))  # some are in work, and some wait, when the lock is lost
    return number**2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("lock", ["reader_mutex", "writer_mutex"])
def test_a_lock_that_is_lost_does_not_stop_the_others(
    lock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audio_tokens.shards.workers.local_pool.LOCK_S", 2.0)
    found: list[int] = []
    with local_pool(2) as executor:
        calls = [(number, str(tmp_path), lock) for number in range(12)]
        assert call_all(executor, square, calls, found.append) == []
    assert (tmp_path / "killed").exists()
    assert sorted(found) == [number**2 for number in range(12)]


def test_an_interrupt_while_a_worker_is_started_leaves_none_behind() -> None:
    """One that was begun and not known looked for locks that were gone with its caller, and printed a traceback."""
    script = """
import os, signal
from multiprocessing.popen_forkserver import Popen
from audio_tokens.shards.workers.local_pool import local_pool
launch = Popen._launch
def struck(self, process):
    launch(self, process)
    os.kill(os.getpid(), signal.SIGINT)
Popen._launch = struck
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with local_pool(2) as executor:
        executor.submit(abs, -1).result()
except KeyboardInterrupt:
    print("interrupted")
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("interrupted\n", "")


def test_a_second_interrupt_while_the_pool_stops_leaves_no_worker_behind() -> None:
    script = """
import os, signal
from pebble import ProcessPool
from audio_tokens.shards.workers.local_pool import local_pool
stop = ProcessPool.stop
def struck(self):
    os.kill(os.getpid(), signal.SIGINT)
    stop(self)
ProcessPool.stop = struck
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with local_pool(2) as executor:
        executor.submit(abs, -1).result()
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted", executor.pool.active)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("interrupted False\n", "")
