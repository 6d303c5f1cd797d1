"""A worker that is killed with a lock of the pool in its hand costs seconds, and no task."""

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from audio_tokens.shards.workers.local_pool import local_pool
from audio_tokens.shards.workers.retry import call_all


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
    monkeypatch.setattr("audio_tokens.shards.workers.local_pool.LOCK_S", 0.5)
    found: list[int] = []
    with local_pool(2) as executor:
        calls = [(number, str(tmp_path), lock) for number in range(12)]
        assert call_all(executor, square, calls, found.append) == []
    assert (tmp_path / "killed").exists()
    assert sorted(found) == [number**2 for number in range(12)]
