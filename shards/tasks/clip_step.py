"""One clip made safely: within a time limit, and in a process of its own where it has already cost one.

Whatever a decoder does, it costs one clip: an error of the clip's is the reason it is rejected with, and a death of the
process leaves the clip in the journal, so that the next attempt makes it apart.
"""

import signal
from collections.abc import Callable
from typing import Any

from audio_tokens.errors import ClipError
from audio_tokens.shards.workers.child_process import DiedError, call_apart
from audio_tokens.shards.workers.time_limit import time_limit

# A file that is listed but cannot be had is the clip's fault; any other failure to read (network, disk) is the task's.
UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


def make_clip(transform: Callable[..., Any], arguments: tuple[Any, ...], timeout_s: float, *, suspected: bool) -> Any:
    """Return `transform(*arguments)`; for a suspect, read and computed in a process that may die of it.

    Raises ClipError where the clip is to be rejected, and what else the transform raises.
    """
    try:
        if suspected:
            return call_apart(_in_time, transform, arguments, timeout_s)
        return _in_time(transform, arguments, timeout_s)
    except UNREADABLE as error:
        raise ClipError((error.strerror or str(error)).lower()) from None
    except DiedError as death:
        if death.code == -signal.SIGALRM:
            raise ClipError(f"decoding took longer than {timeout_s:g} s") from None
        raise ClipError(f"the decoder {death}") from None


def _in_time(transform: Callable[..., Any], arguments: tuple[Any, ...], timeout_s: float) -> Any:
    with time_limit(timeout_s):
        return transform(*arguments)
