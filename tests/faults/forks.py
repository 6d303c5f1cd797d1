"""Commands run in forks of one warm process, so that a fault costs a second and not the imports of torch besides.

The process that forks has imported all that a command needs and computed nothing: no thread of it is lost in a fork.
"""

import atexit
import gc
import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audio_tokens.jobs import cli

LIGHT = ("faiss", "zarr", "sklearn.metrics", "soundfile", "soxr", "pebble", "pyarrow.parquet", "safetensors.numpy")
HEAVY = (
    *("torch", "accelerate", "safetensors.torch", "matplotlib.figure", "torch.utils.tensorboard", "torch._dynamo"),
    *("audio_tokens.engine.systems.registry", "audio_tokens.engine.training.train_system"),
    "audio_tokens.engine.systems.encoder",  # and with it transformers
)
PATIENCE_S = 180  # a command takes one to five seconds where nobody else is at work


class Outcome(NamedTuple):
    """How a command ended: its exit code (negative for a signal), what it said, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def mistake(self) -> str | None:
        """The one line of a user's mistake, if that is how it ended."""
        lines = [line for line in self.err.splitlines() if ": error: " in line]
        return lines[0] if self.code == 2 and len(lines) == 1 else None


@dataclass
class Running:
    """A command that was started, the leader of a process group of its own."""

    pid: int
    said: Path
    started: float

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the process, or to its workers too; nothing where it has ended."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)

    def sleep(self, seconds: float) -> None:
        """Let it run so long, or until it ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._peek():
            time.sleep(min(0.002, max(0.0, deadline - time.monotonic())))

    def wait(self, patience_s: float = PATIENCE_S) -> Outcome:
        """Return how it ended, once all of its workers have, too. Raises AssertionError where it hangs."""
        deadline = time.monotonic() + patience_s
        while self._peek():
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL, group=True)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"hangs: {self._text('.out')[-500:]} {self._text('.err')[-2000:]}")
            time.sleep(0.002)
        seconds = time.monotonic() - self.started
        status = os.waitpid(self.pid, 0)[1]
        self._see_workers_end(deadline)
        return Outcome(os.waitstatus_to_exitcode(status), self._text(".out"), self._text(".err"), seconds)

    def _peek(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _see_workers_end(self, deadline: float) -> None:
        """An orphan ends by itself when its task is done."""
        while True:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL, group=True)
                raise AssertionError("a worker outlives its command")
            time.sleep(0.005)

    def _text(self, ending: str) -> str:
        return self.said.with_suffix(ending).read_text(errors="replace")


def warm_up(*, torch: bool) -> None:
    """Import what commands import; those that know models and pages need torch too."""
    for name in (
        *LIGHT,
        *(HEAVY if torch else ()),
        *(f"audio_tokens.jobs.{name.replace('-', '_')}" for name in cli.COMMANDS),
    ):
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread would be lost in every fork"
    gc.collect()
    gc.freeze()  # else every fork's collector would copy the memory of all that is imported


def start(words: str, said: Path, within: Callable[[], None] = lambda: None) -> Running:
    """Start `audio-tokens WORDS` in a fork; what it says goes to `said`.out and .err; `within` it something goes first.

    A second process group makes no difference to the command, and lets its workers be reached with it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what stands here must not be what it interrupts
    try:
        pid = os.fork()
        if pid == 0:
            _live(words, said, within)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return Running(pid, said, started)


def run(words: str, said: Path, within: Callable[[], None] = lambda: None) -> Outcome:
    """Start a command and return how it ended."""
    return start(words, said, within).wait()


def _live(words: str, said: Path, within: Callable[[], None]) -> None:
    """Be the command: never returns."""
    code = 1
    try:
        os.setsid()
        # a process dies of it until Python has begun; who starts a campaign in the background ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for number, ending in ((1, ".out"), (2, ".err")):
            file = os.open(said.with_suffix(ending), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        within()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = cli.main(words.split())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job is done: what is left is the libraries' own farewell
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            threading._shutdown()  # type: ignore[attr-defined]  # as a process that ends by itself
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


@contextmanager
def ended(*commands: Running) -> Iterator[None]:
    """Leave none of these commands behind, whatever happens meanwhile."""
    try:
        yield
    finally:
        for command in commands:
            command.send(signal.SIGKILL, group=True)
