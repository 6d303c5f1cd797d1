"""A progress bar over clips, with their rate and the number of rejects."""

from collections.abc import Iterable

from tqdm import tqdm

from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task import TaskCounts


class ClipBar:
    """A context; the total is unknown where a task cannot tell its clips beforehand."""

    def __init__(self, tasks: Iterable[Task], title: str) -> None:
        counts = [task.promised_clips for task in tasks]
        known = [count for count in counts if count is not None]
        self._bar = tqdm(total=sum(known) if len(known) == len(counts) else None, unit=" clips", desc=title)

    def show(self, counts: TaskCounts) -> None:
        self._bar.set_postfix(rejected=counts.rejected, refresh=False)
        self._bar.update(counts.clips - self._bar.n)

    def __enter__(self) -> "ClipBar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
