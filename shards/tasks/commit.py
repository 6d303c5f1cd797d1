"""The commit of a data set: once every task has left its record, any process writes the manifest.

It is a pure function of the records, so it does not matter which process makes it, or how often it was begun.
"""

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from audio_tokens.shards.dataset.manifest import MANIFEST, REJECTS, ShardEntry, write_manifest
from audio_tokens.shards.dataset.tar_shard import ShardReader
from audio_tokens.shards.publish import published_file
from audio_tokens.shards.tasks.build_folder import sweep
from audio_tokens.shards.tasks.task import Job, locked
from audio_tokens.shards.tasks.task_shards import DUPLICATE, OpenShard


def commit(job: Job, tasks: Sequence[int], *, about: Mapping[str, Any], producer: Mapping[str, Any]) -> bool:
    """Write `rejects.jsonl`, then `dataset.json`, if every number of `tasks` has its record. Returns whether it has.

    `about` says in the manifest what was built from what; `producer` goes to whoever reads the arrays.
    Of clips with equal keys the first in listing order stays, the others become rejects; a task has settled its own.
    """
    folder = job.folder
    with locked(folder, fcntl.LOCK_EX):
        if (folder / MANIFEST).exists():
            return True
        if not all(job.record_file(index).exists() for index in tasks):
            return False
        repeated = _repeated(job, tasks)
        totals = Totals()
        with published_file(folder / REJECTS) as temporary, temporary.open("w", encoding="utf-8") as rejects:
            for index, record in _records(job, tasks):
                totals.add_record(record)
                for source_id, reason in record["rejects"]:
                    _reject(rejects, source_id, reason)
                for number, (values, keys) in enumerate(zip(record["shards"], record["keys"], strict=True)):
                    entry, dropped = ShardEntry(**values), repeated.get((index, number), [])
                    if dropped:
                        entry, metas = _without(folder, entry, dropped)
                        for meta in metas:
                            totals.drop(meta)
                            _reject(rejects, meta["id"], DUPLICATE)
                        keys = [key for position, key in enumerate(keys) if position not in dropped]
                    if entry.clips:
                        totals.add_shard(entry, keys)
        assert totals.clips_in == totals.rejected + sum(shard.clips for shard in totals.shards)
        write_manifest(
            folder,
            build={"fingerprint": job.fingerprint, "shards": asdict(job.config), **about},
            producer=producer,
            labels=job.source.labels,
            single_label=totals.single_label,
            shards=tuple(sorted(totals.shards, key=lambda shard: shard.name)),
            rejected=totals.rejected,
            extra=totals.facts(len(job.source.labels)),
        )
        sweep(folder)
    return True


class Totals:
    """What the records add up to."""

    def __init__(self) -> None:
        self.shards: list[ShardEntry] = []
        self.clips_in = self.rejected = 0
        self.single_label = True
        self._label_counts: dict[str, Counter[int]] = {}
        self._test_keys: list[str] = []

    def add_record(self, record: Mapping[str, Any]) -> None:
        self.clips_in += record["clips_in"]
        self.rejected += len(record["rejects"])
        self.single_label &= record["single_label"]
        for place, counts in record["label_counts"].items():
            self._label_counts.setdefault(place, Counter()).update(dict(counts))

    def add_shard(self, entry: ShardEntry, keys: list[str]) -> None:
        self.shards.append(entry)
        if entry.place == "test":
            self._test_keys += keys

    def drop(self, meta: Mapping[str, Any]) -> None:
        self.rejected += 1
        self._label_counts[meta["place"]].subtract(meta["labels"])

    def facts(self, labels: int) -> dict[str, Any]:
        """What the manifest tells beside the shards: clips per label and place, and which clips are the test.

        Published evaluations differ in their clips, so a score is worth little without the count and hash of the ids:
        sha256 over the sorted keys, a newline after each.
        """
        counts = {
            place: [found[label] for label in range(labels)] for place, found in sorted(self._label_counts.items())
        }
        facts: dict[str, Any] = {"label_counts": counts}
        if self._test_keys:
            listing = "".join(f"{key}\n" for key in sorted(self._test_keys))
            facts["test_ids"] = {
                "clips": len(self._test_keys),
                "sha256": hashlib.sha256(listing.encode()).hexdigest(),
            }
        return facts


def _records(job: Job, tasks: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index in tasks:
        yield index, json.loads(job.record_file(index).read_bytes())


def _repeated(job: Job, tasks: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    """Return, per (task, shard of the task), the positions of the clips whose key an earlier clip has.

    Only 8 bytes a clip are held: hashes first, and the keys themselves where hashes met.
    """
    hashes = [
        np.frombuffer(b"".join(_key_hash(key) for keys in record["keys"] for key in keys), np.uint64)
        for _, record in _records(job, tasks)
    ]
    found, times = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]), return_counts=True)
    twice = {value.tobytes() for value in found[times > 1]}
    if not twice:
        return {}
    seen: set[str] = set()
    repeated: dict[tuple[int, int], list[int]] = {}
    for index, record in _records(job, tasks):
        for number, keys in enumerate(record["keys"]):
            for position, key in enumerate(keys):
                if _key_hash(key) not in twice:
                    continue
                if key in seen:
                    repeated.setdefault((index, number), []).append(position)
                seen.add(key)
    return repeated


def _key_hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8).digest()


def _without(folder: Path, entry: ShardEntry, dropped: list[int]) -> tuple[ShardEntry, list[dict[str, Any]]]:
    """Publish the shard again, under a name of its own, without the clips at `dropped`; return it and their metas.

    The old one stays until the manifest no longer needs it, so that a commit cut short can begin again.
    """
    reader = ShardReader(folder / entry.name)
    shard = OpenShard(folder / f"{Path(entry.name).stem}-unique.tar", entry.place)
    metas = []
    for position in range(len(reader)):
        sample = reader.sample(position)
        if position in dropped:
            metas.append(sample.meta)
        else:
            shard.add(reader.packed(position), len(sample.array_TF), sample.meta["seconds"])
    return shard.publish(), metas


def _reject(file: TextIO, source_id: str, reason: str) -> None:
    file.write(json.dumps({"id": source_id, "reason": reason}) + "\n")
