"""The commit: once every task has left its record, any process publishes what they made together.

It is a pure function of the records, so it does not matter which process makes it, or how often it was begun.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from audio_tokens.errors import UserError
from audio_tokens.shards.tasks.task import DUPLICATE
from audio_tokens.shards.tasks.task_folder import locked
from audio_tokens.shards.tasks.task_set import Done, Record, TaskSet, unsealed


def commit(tasks: TaskSet, numbers: Sequence[int]) -> bool:
    """Publish what the tasks of these numbers made, if every one has its record. Returns whether it is published.

    Of clips with equal keys the first in listing order stays, the others become rejects; a task has settled its own.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(tasks.folder, fcntl.LOCK_EX))
        except FileNotFoundError:  # another process has published, and removed the folder
            return True
        if tasks.maker.finished(tasks.folder) is not None:
            return True
        if not all(tasks.record_file(index).exists() for index in numbers):
            return False
        tasks.maker.publish(tasks, Records(tasks, numbers))
    return True


@dataclass(frozen=True)
class Records:
    """The records of a set of tasks in listing order, read one at a time: there may be millions of clips."""

    tasks: TaskSet
    numbers: Sequence[int]

    def __iter__(self) -> Iterator[Record]:
        """Yield the records; of clips with equal keys, all but the first stand among the rejects."""
        twice = set() if self.tasks.distinct else self._met_twice()
        seen: set[str] = set()
        for record in self._read():
            met = {clip.key: clip for clip in record.clips if _key_hash(clip.key) in twice}
            repeated = frozenset(met.keys() & seen)
            seen |= met.keys()
            rejects = [(clip.source_id, DUPLICATE) for key, clip in met.items() if key in repeated]
            record = replace(record, rejects=[*record.rejects, *rejects], repeated=repeated)
            assert record.clips_in == len(record.rejects) + len(record.clips) - len(repeated)
            yield record

    def _read(self) -> Iterator[Record]:
        for index in self.numbers:
            file = self.tasks.record_file(index)
            try:
                said = unsealed(file.read_bytes())
            except ValueError as error:
                raise UserError(f"{file} is damaged ({error}); the same command does that task again") from None
            clips, rejects = [Done(*clip) for clip in said["clips"]], [tuple(reject) for reject in said["rejects"]]
            yield Record(
                index=index,
                clips_in=said["clips_in"],
                rejects=rejects,
                clips=clips,
                made=said["made"],
                left_out=said["left_out"],
            )

    def _met_twice(self) -> set[bytes]:
        """Return the hashes of the keys that several clips have. 8 bytes a clip are held, and no key."""
        hashes = [
            np.frombuffer(b"".join(_key_hash(clip.key) for clip in record.clips), np.uint64) for record in self._read()
        ]
        found, times = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]), return_counts=True)
        return {value.tobytes() for value in found[times > 1]}


def _key_hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8).digest()
