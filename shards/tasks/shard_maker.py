"""Mel shards as a set of tasks makes them: each task its own shards, all together a data set."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.dataset.clip_table import CLIPS, Arrays, joined, read_arrays
from audio_tokens.shards.dataset.manifest import MANIFEST, REJECTS, VERSION, Dataset, ShardEntry, write_manifest
from audio_tokens.shards.dataset.tar_shard import ShardReader
from audio_tokens.shards.integrity import INTEGRITY
from audio_tokens.shards.publish import is_temporary, published_file
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.tasks.task_set import TASKS, Maker, Record, TaskSet, reject_line
from audio_tokens.shards.tasks.task_shards import OpenShard, ShardConfig, TaskShards, table_file

OURS = re.compile(r"[a-z0-9-]+-\d{6,}-\d{3,}(-unique)?\.tar|integrity\.json")


@dataclass(frozen=True, kw_only=True)
class ShardMaker(Maker):
    """Makes mel shards of clips, and a data set of the shards.

    Args:
        to_mel: turns a clip into (array_TF, seconds decoded, notes on its sound to be counted ...); raises ClipError
            with the reason for a reject
        config: what the shards look like
        about: what was built from what, for the manifest
        producer: for whoever reads the arrays
    """

    to_mel: Callable[[Clip], tuple[Any, ...]]
    config: ShardConfig
    about: Mapping[str, Any]
    producer: Mapping[str, Any]

    def transform(self, clip: Clip, before: Clip | None) -> tuple[Any, ...]:
        return self.to_mel(clip)

    def open(self, folder: Path, index: int, label_ids: Mapping[str, int]) -> TaskShards:
        return TaskShards(folder, index, self.config, label_ids)

    def finished(self, folder: Path) -> str | None:
        try:
            manifest = json_of((folder / MANIFEST).read_bytes())
            return manifest["build"]["fingerprint"] if manifest["format_version"] == VERSION else ""
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return ""

    def retract(self, folder: Path) -> None:
        (folder / MANIFEST).unlink(missing_ok=True)

    def sweep(self, folder: Path, under_way: bool) -> None:
        """Remove what a build leaves behind and its manifest does not list; nothing of anyone else's."""
        if (folder / MANIFEST).exists():
            shutil.rmtree(folder / TASKS, ignore_errors=True)
            kept = {REJECTS, CLIPS, INTEGRITY, *(shard.name for shard in Dataset.open(folder).shards)}
        else:
            kept = {path.name for path in folder.iterdir() if under_way and not is_temporary(path.name)}
        for path in folder.iterdir():
            ours = OURS.fullmatch(path.name) or is_temporary(path.name) or path.name in (REJECTS, CLIPS)
            if ours and path.name not in kept:
                path.unlink()

    def publish(self, tasks: TaskSet, records: Iterable[Record]) -> None:
        """Write `rejects.jsonl`, then `dataset.json` with `clips.npz`."""
        folder, totals = tasks.folder, Totals()
        with published_file(folder / REJECTS) as temporary, temporary.open("w", encoding="utf-8") as rejects:
            for record in records:
                rejects.writelines(reject_line(*reject) for reject in record.rejects)
                totals.add_record(record)
                for values in record.made["shards"]:
                    entry = ShardEntry(**values)
                    if record.repeated:
                        entry, dropped = _without(folder, entry, record.repeated)
                        totals.drop(entry.place, dropped)
                    if entry.clips:
                        totals.shards.append(entry)
        assert totals.clips_in == totals.rejected + sum(shard.clips for shard in totals.shards)
        shards = tuple(sorted(totals.shards, key=lambda shard: shard.name))
        write_manifest(
            folder,
            build={"fingerprint": tasks.fingerprint, "shards": asdict(self.config), **self.about},
            producer=self.producer,
            labels=tasks.source.labels,
            single_label=totals.single_label,
            shards=shards,
            table=joined(_table(folder, shard) for shard in shards),
            rejected=totals.rejected,
            extra=totals.facts(len(tasks.source.labels)),
        )
        self.sweep(folder, False)


class Totals:
    """What the records add up to."""

    def __init__(self) -> None:
        self.shards: list[ShardEntry] = []
        self.clips_in = self.rejected = 0
        self.single_label = True
        self._label_counts: dict[str, Counter[int]] = {}
        self._test_keys: list[str] = []
        self._notes: Counter[str] = Counter()
        self._left_out: list[str] = []

    def add_record(self, record: Record) -> None:
        self.clips_in += record.clips_in
        self.rejected += len(record.rejects)
        self.single_label &= record.made["single_label"]
        self._test_keys += [c.key for c in record.clips if c.place == "test" and c.key not in record.repeated]
        self._notes.update(dict(record.made["notes"]))
        self._left_out += [record.left_out] if record.left_out else []
        for place, counts in record.made["label_counts"].items():
            self._label_counts.setdefault(place, Counter()).update(dict(counts))

    def drop(self, place: str, metas: Iterable[Mapping[str, Any]]) -> None:
        for meta in metas:
            self._label_counts[place].subtract(meta["labels"])

    def facts(self, labels: int) -> dict[str, Any]:
        """What the manifest tells beside the shards: clips per label and place, which are the test, notes, omissions.

        Notes count the clips whose sound was unusual: read by FFmpeg, channels that cancel ... `left_out` names the
        tasks whose input could not be read to its end, where that was to be left out.

        Published evaluations differ in their clips, so a score is worth little without the count and hash of the ids:
        sha256 over the sorted keys, a newline after each.
        """
        counts = {
            place: [found[label] for label in range(labels)] for place, found in sorted(self._label_counts.items())
        }
        facts: dict[str, Any] = {"label_counts": counts}
        if self._notes:
            facts["notes"] = dict(sorted(self._notes.items()))
        if self._left_out:
            facts["left_out"] = self._left_out
        if self._test_keys:
            listing = "".join(f"{key}\n" for key in sorted(self._test_keys))
            facts["test_ids"] = {
                "clips": len(self._test_keys),
                "sha256": hashlib.sha256(listing.encode()).hexdigest(),
            }
        return facts


def _without(folder: Path, entry: ShardEntry, keys: Collection[str]) -> tuple[ShardEntry, list[dict[str, Any]]]:
    """Publish the shard again, under a name of its own, without the clips of these keys; return it and their metas.

    The old one stays until the manifest no longer needs it, so that a commit cut short can begin again.
    """
    reader = ShardReader(folder / entry.name)
    kept, dropped = [], []
    for position, sample in enumerate(reader.read()):
        if sample.key in keys:
            dropped.append(sample.meta)
        else:
            kept.append((position, sample))
    if not dropped:
        return entry, []
    shard = OpenShard(folder / f"{Path(entry.name).stem}-unique.tar", entry.place)
    for position, sample in kept:
        shard.add(reader.packed(position), len(sample.array_TF), sample.meta)
    return shard.publish(), dropped


def _table(folder: Path, entry: ShardEntry) -> Arrays:
    """Return the table of a shard's clips. Raises UserError where a disk has damaged it since it was written.

    It is removed then, so that the task that made it is done again.
    """
    file = table_file(folder, entry.name)
    try:
        return read_arrays(file)
    except (BadZipFile, ValueError, KeyError, EOFError) as error:
        file.unlink()
        raise UserError(f"{file} was damaged ({error}) and is removed; the same command makes it again") from None
