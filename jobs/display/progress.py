"""Progress: bars over clips and over the steps of an epoch, with rate, total and time left; a line an epoch."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from audio_tokens.jobs.display.loudness import say_progress, shows_progress
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task import TaskCounts

if TYPE_CHECKING:
    from audio_tokens.engine.training.run_context import Progress

SHORT_S = 3.0  # an epoch of so many seconds has no bar of its own: its line comes soon enough


def clip_bar(title: str, total: int | None = None, *, first: bool = True) -> Any:
    """Return tqdm's bar over clips, drawn where progress is shown, and by the `first` process alone."""
    return tqdm(total=total, unit=" clips", desc=title, disable=not (first and shows_progress()), smoothing=0.1)


def step_bar(
    command: str, steps: Iterable[Any], title: str, done: int, total: int, *, first: bool = True
) -> Iterable[Any]:
    """Return the steps of an epoch, watched by a bar that goes when they are done; a short epoch has none."""
    return tqdm(
        steps,
        desc=f"{command}: {title}",
        initial=done,
        total=total,
        unit=" steps",
        delay=SHORT_S,
        leave=False,
        disable=not (first and shows_progress()),
    )


class ClipBar:
    """The bar of some tasks, a context; the total is unknown where a task cannot tell its clips beforehand.

    It never runs backwards: a task that is tried again counts from where it failed.
    """

    def __init__(self, tasks: Iterable[Task], title: str) -> None:
        counts = [task.promised_clips for task in tasks]
        known = [count for count in counts if count is not None]
        self._bar = clip_bar(title, sum(known) if len(known) == len(counts) else None)
        self._shown = 0

    def show(self, counts: TaskCounts) -> None:
        """Draw the bar where `counts` says that the tasks are."""
        self._bar.set_postfix(rejected=counts.rejected, refresh=False)
        self._bar.update(max(0, counts.clips - self._shown))
        self._shown = max(self._shown, counts.clips)

    def __enter__(self) -> "ClipBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def epoch_lines(command: str) -> "Callable[[str, Progress, int], None]":
    """Return what says of every finished epoch its losses, its mAP and how long the rest will take."""

    def line(phase: str, progress: "Progress", last_epoch: int) -> None:
        row, done = progress.rows[-1], len(progress.rows)
        parts = [f"{command}: {phase} epoch {done} of {last_epoch}: loss {row['train_loss']:.4f}"]
        if "val_mAP" in row:
            parts.append(f"val loss {row['val_loss']:.4f}")
            parts.append(f"val mAP {row['val_mAP']:.3f} (best {progress.best:.3f}, epoch {progress.best_epoch})")
        if done < last_epoch:
            left_s = sum(row["seconds"] for row in progress.rows) / done * (last_epoch - done)
            parts.append(f"{tqdm.format_interval(left_s)} left")
        say_progress(", ".join(parts))

    return line
