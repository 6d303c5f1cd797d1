"""Make a call in a process of its own, so that whatever it does to its process is an ordinary error here.

`python -m` with this module's name is that process: a call comes in on its standard input, a value or an exception goes
out. It costs some 0.3 s to start. (What is pickled here lives only in the pipe between two processes of one program.)
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from audio_tokens.interrupts import masked_interrupt


class DiedError(RuntimeError):
    """The process of a call ended without an answer; `code` is its exit code, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        if self.code < 0:
            return f"died of {signal.Signals(-self.code).name}"
        return f"ended the process with code {self.code}"


def call_apart(function: Callable[..., Any], /, *arguments: Any) -> Any:
    """Return `function(*arguments)`, computed in a process that may die of it, and that dies with this one.

    Raises DiedError where it dies, and whatever the function raises.
    """
    with masked_interrupt():  # for good: this process tells it when to end
        child = subprocess.Popen(
            [sys.executable, "-m", "audio_tokens.shards.workers.child_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # it died at once, and its exit code tells
            child.stdin.write(pickle.dumps((function, arguments)))
            child.stdin.flush()
        # Its standard input stays open meanwhile: the end of it would tell the child that this process is gone.
        answer = child.stdout.read()
        with suppress(BrokenPipeError):
            child.stdin.close()
    if child.returncode:
        raise DiedError(child.returncode)
    outcome = pickle.loads(answer)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def portable(error: Exception) -> Exception:
    """Return `error`, or its words where it would not survive the way to another process.

    Web clients' errors hold open connections, or cannot be made again from their arguments; a pool breaks of those.
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def main() -> None:
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a decoder that prints must not garble the answer
    outcome: Any
    try:
        function, arguments = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_die_with_the_caller, daemon=True).start()
        outcome = function(*arguments)
    except Exception as error:
        outcome = portable(error)
    pickle.dump(outcome, answer)
    answer.flush()
    os._exit(0)  # the answer ends with this process: else the caller might let go of its end, and the thread kill us


def _die_with_the_caller() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main()
