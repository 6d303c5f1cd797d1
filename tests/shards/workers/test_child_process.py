"""A call in a process of its own gives what it gives here, and whatever befalls that process is an error here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audio_tokens.errors import ClipError
from audio_tokens.shards.workers.child_process import DiedError, call_apart, portable
from audio_tokens.shards.workers.local_pool import local_pool
from tests.shards.workers.toy_calls import add, die, fail_oddly, interrupts_wait, refuse


def test_value_and_exception_come_back() -> None:
    assert call_apart(add, 1, 2) == 3
    assert len(call_apart(bytes, 3_000_000)) == 3_000_000  # more than a pipe holds
    assert call_apart(len, bytes(3_000_000)) == 3_000_000
    with pytest.raises(ClipError, match="sounds bad"):
        call_apart(refuse, "sounds bad")


@pytest.mark.parametrize(("code", "words"), [(3, "ended the process with code 3"), (-11, "died of SIGSEGV")])
def test_a_death_is_an_error(code: int, words: str) -> None:
    with pytest.raises(DiedError, match=words) as died:
        call_apart(die, code)
    assert died.value.code == code
    assert str(portable(died.value)) == words


def test_an_error_that_cannot_travel_leaves_its_words() -> None:
    with pytest.raises(RuntimeError, match="OddError: 500: down"):
        call_apart(fail_oddly)
    with local_pool(1) as executor:
        with pytest.raises(RuntimeError, match="OddError: 500: down"):
            executor.submit(fail_oddly).result()
        assert executor.submit(add, 1, 2).result() == 3  # and the pool is whole


def test_an_interrupt_is_held_off_processes_from_their_first_moment() -> None:
    """Python's own start prints a traceback of it."""
    assert not interrupts_wait()
    assert call_apart(interrupts_wait)
    script = """
from multiprocessing import forkserver
from audio_tokens.shards.workers.local_pool import local_pool
from tests.shards.workers.toy_calls import interrupts_wait
with local_pool(1):
    assert interrupts_wait(forkserver._forkserver._forkserver_pid)
"""
    subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=True
    )


def test_the_process_dies_with_its_caller(tmp_path: Path) -> None:
    script = f"""
from audio_tokens.shards.workers.child_process import call_apart
from tests.shards.workers.toy_calls import write_pid
call_apart(write_pid, {str(tmp_path / "pid")!r})
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    while not (tmp_path / "pid").exists():
        assert caller.poll() is None
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline, "it outlived its caller"
        time.sleep(0.02)
