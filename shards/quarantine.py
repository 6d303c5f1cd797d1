"""Decode one suspected clip in a process of its own, and say what became of it.

`python -m shards.quarantine` is that process: a transform, a clip and a time limit come in on its standard input, an
array or an exception goes out. (What is pickled here lives only in the pipe between two processes of one program.)
"""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shards.clip import Clip
from shards.errors import ClipError
from shards.watchdog import time_limit

Transform = Callable[[Clip], tuple[np.ndarray, float]]


def transform_apart(transform: Transform, clip: Clip, timeout_s: float) -> tuple[np.ndarray, float]:
    """Return `transform(clip)`, computed in a process that may die of it.

    Raises ClipError where it dies or takes longer than `timeout_s`, and whatever the transform raises.
    """
    if clip.open is not None:
        clip = dataclasses.replace(clip, open=partial(bytes, clip.open()))  # reading is not what kills
    child = subprocess.run(
        [sys.executable, "-m", "shards.quarantine"],
        input=pickle.dumps((timeout_s, transform, clip)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the last words of a crashing decoder
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=False,
    )
    if child.returncode == -signal.SIGALRM:
        raise ClipError(f"decoding took longer than {timeout_s:g} s")
    if child.returncode < 0:
        raise ClipError(f"the decoder died of {signal.Signals(-child.returncode).name}")
    if child.returncode > 0:
        raise ClipError(f"the decoder ended the process with code {child.returncode}")
    outcome = pickle.loads(child.stdout)
    if isinstance(outcome, Exception):
        raise outcome
    array_TF, seconds = outcome
    return array_TF, seconds


def main() -> None:
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    sys.stdout = sys.stderr  # a decoder that prints must not garble the answer
    timeout_s, transform, clip = pickle.load(sys.stdin.buffer)
    outcome: Any
    with time_limit(timeout_s):
        try:
            outcome = transform(clip)
        except Exception as error:
            outcome = error
    with answer:
        pickle.dump(outcome, answer)


if __name__ == "__main__":
    main()
