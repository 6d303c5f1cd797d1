"""A folder of shards and its manifest `dataset.json`, written last: without it there is no data set."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from audio_tokens.errors import UserError, checked, did_you_mean, json_of
from audio_tokens.shards.dataset.clip_table import CLIPS, Arrays, ClipTable, read_table, write_arrays
from audio_tokens.shards.dataset.shard_files import ShardFiles
from audio_tokens.shards.dataset.tar_shard import BLOCK, Sample, array_in, sample_in
from audio_tokens.shards.integrity import FileEntry, seal
from audio_tokens.shards.publish import publish_bytes
from audio_tokens.shards.sources.addresses.reach import permitted
from audio_tokens.shards.sources.addresses.remote import open_url

FORMAT = "audio-tokens-shards"
VERSION = 2
MANIFEST = "dataset.json"
REJECTS = "rejects.jsonl"
MEMBER_BYTES = 512  # of a tar, the least that a clip takes
MOST_COUNTED = 1 << 50  # bytes or frames of a shard: what is more is damage
MOST_NAME_BYTES = 255  # of a file, on every disk
Kinds = Mapping[str, type | tuple[type, ...]]
KEYS: Kinds = {
    **dict.fromkeys(("build", "producer", "totals", "label_counts"), dict),
    **{"labels": list, "places": list, "shards": list, "single_label": bool},
}
ENTRY: Kinds = {
    "name": str,
    "place": str,
    "clips": int,
    "frames": int,
    "seconds": (float, int),
    "bytes": int,
    "sha256": str,
}
TOTALS: Kinds = {**dict.fromkeys(("clips", "frames", "bytes", "rejected"), int), "seconds": (float, int)}
META: Kinds = {"labels": list, "id": str, "seconds": (float, int), "place": str, "group": str}


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One shard as the manifest lists it; `seconds` is the sound decoded into it."""

    name: str
    place: str
    clips: int
    frames: int
    seconds: float
    bytes: int
    sha256: str

    @property
    def task(self) -> int:
        """The number of the source's task that it was made by."""
        return int(self.name.rsplit("-", 2)[1])


class Dataset:
    """A published data set, in a local folder or under a URL.

    Clips are told apart by shard and place in it, or by their number among all clips in the order of the shards.
    """

    def __init__(self, location: str, manifest_bytes: bytes) -> None:
        manifest = json_of(manifest_bytes)
        self.location = location
        self.hash = hashlib.sha256(manifest_bytes).hexdigest()
        self.manifest: dict[str, Any] = manifest
        self.producer: dict[str, Any] = manifest["producer"]
        self.labels: tuple[str, ...] = tuple(manifest["labels"])
        self.single_label: bool = manifest["single_label"]
        self.shards: tuple[ShardEntry, ...] = tuple(ShardEntry(**entry) for entry in manifest["shards"])
        self.places: tuple[str, ...] = tuple(manifest["places"])
        self._firsts: list[int] = np.cumsum([0, *(shard.clips for shard in self.shards)]).tolist()
        self._files = ShardFiles(location, [(shard.name, shard.bytes) for shard in self.shards])

    @classmethod
    def open(cls, location: str | Path) -> "Dataset":
        """Open a data set. Raises UserError where there is none, or one of another version or format."""
        location = permitted(str(location).rstrip("/"))
        try:
            with open_url(f"{location}/{MANIFEST}") as file:
                data: bytes = file.read()
        except FileNotFoundError:
            raise UserError(_nothing_at(location)) from None
        except Exception as error:  # each file system has its own: no package for it, no host, no credentials
            raise UserError(f"shards {location!r} cannot be read: {' '.join(str(error).split())}") from None
        try:
            manifest = json_of(data)
            kind, version = manifest["format"], manifest["format_version"]
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{location}/{MANIFEST} is no manifest of mel shards; build the data set again") from None
        if (kind, version) != (FORMAT, VERSION):
            raise UserError(
                f"{location} holds {kind} version {version}, this program reads {FORMAT} version {VERSION}; "
                "build it again with `audio-tokens build`"
            )
        try:
            _check(manifest)
            return cls(location, data)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{location}/{MANIFEST} is damaged ({error}); build the data set again") from None

    @cached_property
    def folds(self) -> bool:
        """Whether the places are folds (fold-1, ...) rather than splits (train, val, test)."""
        return bool(self.places) and all(place.startswith("fold-") for place in self.places)

    @property
    def clips(self) -> int:
        return self._firsts[-1]

    def shards_of(self, *places: str) -> tuple[int, ...]:
        """Return the indices of the shards of these places, in order. Raises UserError for an unknown place."""
        for place in places:
            if place not in self.places:
                hint = did_you_mean(place, self.places)
                raise UserError(f"{self.location} has no split or fold {place!r}; {hint}")
        return tuple(index for index, shard in enumerate(self.shards) if shard.place in places)

    @cached_property
    def table(self) -> ClipTable:
        """What every clip is, in one file read when first asked for. Raises UserError where it is damaged."""
        shard_bytes_C = np.repeat(
            np.array([shard.bytes for shard in self.shards], np.int64), [shard.clips for shard in self.shards]
        )
        return read_table(self.location, shard_bytes_C, len(self.labels))

    def numbers_of(self, *places: str) -> Int64[np.ndarray, "C"]:
        """Return the numbers of the clips of these places, in order. Raises UserError for an unknown place."""
        ranges = [np.array(self.numbers_in(shard), np.int64) for shard in self.shards_of(*places)]
        return np.concatenate([np.empty(0, np.int64), *ranges])

    def numbers_in(self, shard_index: int) -> range:
        """Return the numbers of the clips of a shard."""
        return range(self._firsts[shard_index], self._firsts[shard_index + 1])

    def read(self, shard_index: int, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        """Yield the samples start..stop of a shard, in its order; arrays are read-only.

        Neighbours are read together: an array that is kept keeps them all. Raises UserError where the shard is damaged.
        """
        numbers = self.numbers_in(shard_index)[start:stop]
        begin_C, end_C = self._spans(np.arange(numbers.start, numbers.stop))
        at = 0
        while at < len(numbers):
            until = max(at + 1, int(np.searchsorted(end_C, begin_C[at] + self._files.span_bytes, side="right")))
            data = self._files.read(shard_index, int(begin_C[at]), int(end_C[until - 1]))
            for number in numbers[at:until]:
                yield self._sample_in(data, shard_index, number, int(begin_C[at]))
            at = until

    def sample(self, shard_index: int, clip_index: int) -> Sample:
        """Return one sample. Raises UserError where it is damaged."""
        return self.clip(self.numbers_in(shard_index)[clip_index])

    def clip(self, number: int) -> Sample:
        """Return the sample of clip `number` of all. Raises UserError where it is damaged."""
        shard_index, row, data = self._clip_bytes(number)
        return self._sample_in(data, shard_index, number, row[0] - BLOCK)

    def array(self, number: int) -> Float[np.ndarray, "T F"]:
        """Return the array of clip `number` alone, as an epoch of training asks for it: in half the time."""
        shard_index, row, data = self._clip_bytes(number)
        try:
            key, array_TF = array_in(data, row, row[0] - BLOCK)
            self._check_array(number, key, array_TF)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(shard_index, number, error) from None
        return array_TF

    def will_read(self, numbers_B: Int64[np.ndarray, "B"]) -> None:
        """Have the system fetch the clips of these numbers meanwhile, neighbours together; nothing under a URL."""
        numbers_B = np.sort(numbers_B)
        shard_B = np.searchsorted(self._firsts, numbers_B, side="right") - 1
        begin_B, end_B = self._spans(numbers_B)
        apart_B = (np.diff(shard_B) != 0) | (begin_B[1:] - end_B[:-1] >= BLOCK)
        first = np.flatnonzero(np.append(True, apart_B)[: len(numbers_B)])
        last = np.flatnonzero(np.append(apart_B, True)[: len(numbers_B)])
        for shard, begin, end in zip(*(x.tolist() for x in (shard_B[first], begin_B[first], end_B[last])), strict=True):
            self._files.will_read(shard, begin, end)

    def _spans(self, numbers_B: Int64[np.ndarray, "B"]) -> tuple[Int64[np.ndarray, "B"], Int64[np.ndarray, "B"]]:
        """Return where the first header of each clip begins and its JSON ends."""
        array_start_B, _, json_start_B, json_bytes_B = self.table.index_C4[numbers_B].T
        return array_start_B - BLOCK, json_start_B + json_bytes_B

    def _clip_bytes(self, number: int) -> tuple[int, list[int], memoryview]:
        """Return the shard of a clip, its row of the index and its bytes from its first header on."""
        shard_index, row = bisect_right(self._firsts, number) - 1, self.table.index_C4[number].tolist()
        return shard_index, row, self._files.read(shard_index, row[0] - BLOCK, row[2] + row[3])

    def _sample_in(self, data: memoryview, shard_index: int, number: int, first: int) -> Sample:
        """Return a clip's sample out of the bytes of its shard from byte `first` on, if it is what it should be."""
        try:
            sample = sample_in(data, self.table.index_C4[number].tolist(), first)
            self._check_array(number, sample.key, sample.array_TF)
            labels = checked(sample.meta, META)["labels"]
            if not all(type(label) is int and 0 <= label < len(self.labels) for label in labels):
                raise ValueError(f"{sample.key} has the labels {labels!r:.60}, and there are {len(self.labels)}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # JSON may be anything
            raise self._damaged(shard_index, number, error) from None
        return sample

    def _check_array(self, number: int, key: str, array_TF: np.ndarray) -> None:
        if key != self.table.keys[number]:
            raise ValueError(f"{key!r:.60} lies where {CLIPS} says that {self.table.keys[number]!r} does")
        if array_TF.ndim != 2:
            raise ValueError(f"the array of {key} has the shape {list(array_TF.shape)}")

    def _damaged(self, shard_index: int, number: int, error: Exception) -> UserError:
        return UserError(
            f"shard {self.location}/{self.shards[shard_index].name} is damaged at its clip "
            f"{number - self._firsts[shard_index]} ({error}); `audio-tokens verify` tells more"
        )


def write_manifest(
    folder: Path,
    *,
    build: Mapping[str, Any],
    producer: Mapping[str, Any],
    labels: tuple[str, ...],
    single_label: bool,
    shards: tuple[ShardEntry, ...],
    table: Arrays,
    rejected: int,
    extra: Mapping[str, Any],
) -> None:
    """Publish `table`, integrity.json and, last, `dataset.json`: the commit of all that already lies in `folder`.

    `build` says what was built from what and how; `producer` is handed through to whoever reads the arrays; `table`
    (clip_table.py) is of the clips of all shards in their order.
    """
    totals = {
        "clips": sum(shard.clips for shard in shards),
        "frames": sum(shard.frames for shard in shards),
        "seconds": round(sum(shard.seconds for shard in shards), 3),
        "bytes": sum(shard.bytes for shard in shards),
        "rejected": rejected,
    }
    manifest = {
        "format": FORMAT,
        "format_version": VERSION,
        "build": dict(build),
        "producer": dict(producer),
        "labels": list(labels),
        "single_label": single_label,
        "places": list(
            dict.fromkeys(shard.place for shard in sorted(shards, key=lambda shard: place_rank(shard.place)))
        ),
        "totals": totals,
        "shards": [asdict(shard) for shard in shards],
        **extra,
    }
    data = (json.dumps(manifest, indent=1) + "\n").encode()
    write_arrays(folder / CLIPS, table)
    known = {shard.name: FileEntry(bytes=shard.bytes, sha256=shard.sha256) for shard in shards}
    known[MANIFEST] = FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    seal(folder, FORMAT, {"listing": build["fingerprint"]}, [REJECTS, CLIPS, *known], known)
    publish_bytes(folder / MANIFEST, data)


def place_rank(place: str) -> tuple[int, int, str]:
    """Train, val and test in this order; folds by number; then whatever else by name."""
    splits = ("train", "val", "test")
    number = place.removeprefix("fold-")
    return (
        splits.index(place) if place in splits else len(splits),
        int(number) if number.isdecimal() else 0,
        place,
    )


def _check(manifest: dict[str, Any]) -> None:
    """Raise ValueError where the manifest lacks what everyone needs."""
    checked(manifest, KEYS)
    for name in ("labels", "places"):
        if not all(isinstance(value, str) for value in manifest[name]):
            raise ValueError(f"{name} holds {manifest[name]!r:.60}")
    checked(manifest["totals"], TOTALS)
    for entry in manifest["shards"]:
        checked(entry, ENTRY)
        name = entry["name"]
        a_file = not set("/\0") & set(name) and name not in ("", ".", "..") and len(name.encode()) <= MOST_NAME_BYTES
        sizes = entry["clips"] * MEMBER_BYTES, entry["frames"], entry["bytes"]
        if not a_file or min(sizes) < 0 or max(sizes[1:]) > MOST_COUNTED or sizes[0] > entry["bytes"]:
            raise ValueError(f"a shard is listed as {entry!r:.100}")
    for counts in manifest["label_counts"].values():
        if not isinstance(counts, list) or len(counts) != len(manifest["labels"]):
            raise ValueError("label_counts and labels differ in length")


def _nothing_at(location: str) -> str:
    folder = Path(location)
    if "://" in location:
        return f"there are no shards at {location}: it has no {MANIFEST}"
    if not folder.exists():
        return f"there is no folder {location}; `audio-tokens build` makes one"
    if (folder / ".tasks").is_dir():
        return f"the build of {location} has not finished; the same `audio-tokens build` command resumes it"
    return f"{location} holds no mel shards: it has no {MANIFEST}; `audio-tokens build --out {location}` makes them"
