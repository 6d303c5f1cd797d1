"""Where a training's curves go beside its CSV files: a tracker of accelerate's, which may break without harm."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audio_tokens.errors import UserError, masked
from audio_tokens.shards.publish import is_full, no_room

if TYPE_CHECKING:
    from accelerate import Accelerator

Log = Callable[[dict[str, float], int], None]


@contextmanager
def tracking(accelerator: "Accelerator", name: str, run: Path) -> Iterator[Log]:
    """Yield what sends values of a step to the tracker `name`.

    A tracker that breaks later than at its start (a full disk, a lost connection) is said once, in one line, and let
    go: the training is worth more, and the CSV files hold the same. Raises UserError where it does not even start.
    """
    broken: list[BaseException] = []
    hook = threading.excepthook

    def let_go(error: BaseException) -> None:
        if not broken:
            print(f"warning: {_told(run, error)}; its curves end here, metrics.csv goes on", file=sys.stderr)
        broken.append(error)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        """A tracker writes in a thread of its own, whose death would be a traceback."""
        if type(args.thread).__module__.partition(".")[0] == name and args.exc_value is not None:
            let_go(args.exc_value)
        else:
            hook(args)

    def log(values: dict[str, float], step: int) -> None:
        if broken:
            return
        try:
            accelerator.log(values, step)
        except Exception as error:
            let_go(error)

    threading.excepthook = in_thread
    try:
        try:
            accelerator.init_trackers("audio-tokens")
        except Exception as error:
            accelerator.trackers = []  # half of one that did not start is not to be closed
            if is_full(error):
                raise no_room(run) from None
            raise UserError(f"{_told(run, error)}; mend it or choose another --tracker") from None
        yield log
    finally:
        for tracker in accelerator.trackers:
            try:
                tracker.finish()
            except Exception as error:
                let_go(error)
        accelerator.trackers = []
        threading.excepthook = hook


def _told(run: Path, error: BaseException) -> str:
    return masked(f"the tracker of {run} failed ({' '.join(f'{type(error).__name__}: {error}'.split())})")
