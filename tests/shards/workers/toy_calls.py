"""What is called in other processes: values, errors and deaths; light to import, for each starts a process."""

import os
import signal
import time
from pathlib import Path

from audio_tokens.errors import ClipError


class OddError(Exception):
    """Pickles, and cannot be made again: web clients have such errors."""

    def __init__(self, status: int, *, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.held = lambda: None


def add(first: int, second: int) -> int:
    print("a decoder that prints")
    os.write(1, b"and one that prints past Python")
    return first + second


def refuse(reason: str) -> None:
    raise ClipError(reason)


def fail_oddly() -> None:
    raise OddError(500, message="down")


def die(code: int) -> None:
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def write_pid(file: str) -> None:
    Path(f"{file}.tmp").write_text(str(os.getpid()))
    Path(f"{file}.tmp").replace(file)
    time.sleep(1000)


def interrupts_wait(pid: int | str = "self") -> bool:
    """Whether Ctrl-C is held off a process, by its signal mask."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.split("SigBlk:")[1].split()[0], 16) & 1 << (signal.SIGINT - 1))
