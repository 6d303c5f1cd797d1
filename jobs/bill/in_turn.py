"""Command lines one after the other in one process, and what each took: `python -m ...in_turn LINES`.

The first pays for what a process needs once (imports, threads, files that were never read); the others show what the
work itself takes, were it only hundredths of a second. LINES is JSON: a list of lists of words.
"""

import json
import runpy
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import NamedTuple


class Turn(NamedTuple):
    """Seconds that passed, and seconds of processor."""

    elapsed_s: float
    cpu_s: float


def command_of(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the command that runs the lines and prints their turns."""
    return [sys.executable, "-m", "audio_tokens.jobs.bill.in_turn", json.dumps(lines)]


def turns_of(printed: str) -> list[Turn]:
    """Return the turns that such a command printed."""
    return [Turn(*turn) for turn in json.loads(printed)]


def main(argv: Sequence[str]) -> int:
    """Run the lines as `audio-tokens` would; the first that fails ends it, with its exit code."""
    turns = []
    for words in json.loads(argv[0]):
        elapsed_s, cpu_s = time.perf_counter(), time.process_time()
        sys.argv = ["audio-tokens", *words]
        try:
            with redirect_stdout(StringIO()):
                runpy.run_module("audio_tokens.jobs.cli", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        turns.append(Turn(time.perf_counter() - elapsed_s, time.process_time() - cpu_s))
    print(json.dumps(turns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
