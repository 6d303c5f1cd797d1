"""The shards that one task writes: one open per place, published when full or when the task ends. T frames, F bands."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audio_tokens.errors import ClipError, UserError
from audio_tokens.shards.dataset.clip_table import arrays_of, write_arrays
from audio_tokens.shards.dataset.manifest import ShardEntry
from audio_tokens.shards.dataset.packing import Packing
from audio_tokens.shards.dataset.tar_shard import PackedSample, Sample, ShardWriter, pack_sample
from audio_tokens.shards.publish import published_file
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.tasks.task_set import TASKS


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """What the shards look like.

    Args:
        packing: how an array lies in a shard
        shard_clips: most clips in one shard
        shard_bytes: most bytes in one shard (one clip may exceed it alone)
    """

    packing: Packing = field(default_factory=Packing)
    shard_clips: int = 1024
    shard_bytes: int = 1 << 27

    def __post_init__(self) -> None:
        if self.shard_clips < 1 or self.shard_bytes < 1:
            raise UserError(f"a shard holds at least 1 clip and 1 byte, not {self.shard_clips} and {self.shard_bytes}")


class TaskShards:
    """A context: on an error the shards still open are dropped."""

    def __init__(self, folder: Path, task_index: int, config: ShardConfig, label_ids: Mapping[str, int]) -> None:
        self._folder, self._task_index, self._config, self._label_ids = folder, task_index, config, label_ids
        self._open: dict[str, OpenShard] = {}
        self._parts: Counter[str] = Counter()
        self._done: list[ShardEntry] = []
        self._label_counts: dict[str, Counter[int]] = {}
        self._single_label = True
        self._notes: Counter[str] = Counter()

    def add(self, clip: Clip, made: tuple[Any, ...]) -> None:
        """Append a clip's array [T, F] and its seconds, and count the notes on its sound that may follow.

        Raises ClipError, before anything is written, for no such array.
        """
        array_TF, seconds, *notes = made
        if array_TF.ndim != 2:
            raise ClipError(f"an array of shape {array_TF.shape}, not of frames and bands")
        ids = list(dict.fromkeys(self._label_ids[label] for label in clip.labels))
        meta = {
            "labels": ids,
            "id": clip.source_id,
            "seconds": round(seconds, 6),
            "place": clip.place,
            "group": clip.group,
        }
        packed = pack_sample(Sample(clip.key, array_TF, meta), self._config.packing)
        self._shard_for(clip.place, packed).add(packed, len(array_TF), meta)
        self._label_counts.setdefault(clip.place, Counter()).update(ids)
        self._single_label &= len(ids) == 1
        self._notes.update(notes)

    def finish(self) -> dict[str, Any]:
        """Publish what is open and return the shards' part of the task's record."""
        for place in list(self._open):
            self._done.append(self._open.pop(place).publish())
        done = sorted(self._done, key=lambda shard: shard.name)
        return {
            "files": [(entry.name, entry.bytes) for entry in done] + [_length(self._folder, entry) for entry in done],
            "shards": [asdict(entry) for entry in done],
            "label_counts": {place: sorted(counts.items()) for place, counts in sorted(self._label_counts.items())},
            "single_label": self._single_label,
            "notes": sorted(self._notes.items()),
        }

    def _shard_for(self, place: str, packed: PackedSample) -> "OpenShard":
        shard = self._open.get(place)
        if shard and (
            shard.clips >= self._config.shard_clips or shard.closed_bytes + packed.tar_bytes > self._config.shard_bytes
        ):
            self._done.append(self._open.pop(place).publish())
            shard = None
        if shard is None:
            name = f"{place}-{self._task_index:06d}-{self._parts[place]:03d}.tar"
            self._parts[place] += 1
            shard = self._open[place] = OpenShard(self._folder / name, place)
        return shard

    def __enter__(self) -> "TaskShards":
        return self

    def __exit__(self, *error: Any) -> None:
        for shard in self._open.values():
            shard.drop(*error)


class OpenShard:
    """A shard being written under a temporary name; the table of its clips is published just before it."""

    def __init__(self, path: Path, place: str) -> None:
        self._path, self._place = path, place
        self._keys: list[str] = []
        self._frames: list[int] = []
        self._metas: list[Mapping[str, Any]] = []
        self._stack = ExitStack()
        self._writer = ShardWriter(
            self._stack.enter_context(self._stack.enter_context(published_file(path)).open("wb"))
        )

    @property
    def clips(self) -> int:
        return self._writer.clips

    @property
    def closed_bytes(self) -> int:
        """How long the shard would be if it were closed now."""
        return self._writer.bytes + ShardWriter.END_BYTES

    def add(self, packed: PackedSample, frames: int, meta: Mapping[str, Any]) -> None:
        self._writer.add(packed)
        self._keys.append(packed.key)
        self._frames.append(frames)
        self._metas.append(meta)

    def publish(self) -> ShardEntry:
        """Close the shard, publish its table and it, and return its entry in the manifest."""
        writer, index_C4 = self._writer, self._writer.close()
        groups, labels = [meta["group"] for meta in self._metas], [meta["labels"] for meta in self._metas]
        write_arrays(
            table_file(self._path.parent, self._path.name),
            arrays_of(self._keys, groups, labels, self._frames, index_C4),
        )
        self._stack.close()
        return ShardEntry(
            name=self._path.name,
            place=self._place,
            clips=writer.clips,
            frames=sum(self._frames),
            seconds=round(sum(meta["seconds"] for meta in self._metas), 3),
            bytes=writer.bytes,
            sha256=writer.sha256,
        )

    def drop(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def table_file(folder: Path, name: str) -> Path:
    """Where the table of a shard's clips waits for the commit."""
    return folder / TASKS / f"{name}.npz"


def _length(folder: Path, entry: ShardEntry) -> tuple[str, int]:
    file = table_file(folder, entry.name)
    return file.relative_to(folder).as_posix(), file.stat().st_size
