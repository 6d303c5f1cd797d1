"""Decode one suspected clip in a process of its own, and say what became of it."""

import signal
from collections.abc import Callable

import numpy as np

from audio_tokens.errors import ClipError
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.workers.child_process import DiedError, call_apart
from audio_tokens.shards.workers.time_limit import time_limit

Transform = Callable[[Clip], tuple[np.ndarray, float]]


def transform_apart(transform: Transform, clip: Clip, timeout_s: float) -> tuple[np.ndarray, float]:
    """Return `transform(clip)`, read and computed in a process that may die of it.

    Raises ClipError where it dies or takes longer than `timeout_s`, and whatever the transform raises.
    """
    try:
        array_TF, seconds = call_apart(_transform_in_time, transform, clip, timeout_s)
    except DiedError as death:
        if death.code == -signal.SIGALRM:
            raise ClipError(f"decoding took longer than {timeout_s:g} s") from None
        raise ClipError(f"the decoder {death}") from None
    return array_TF, seconds


def _transform_in_time(transform: Transform, clip: Clip, timeout_s: float) -> tuple[np.ndarray, float]:
    with time_limit(timeout_s):
        return transform(clip)
