"""A folder of shards and its manifest `dataset.json`, written last: without it there is no data set."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError, checked, did_you_mean, json_of
from audio_tokens.shards.dataset.tar_shard import Sample, ShardReader, index_file, stream
from audio_tokens.shards.integrity import FileEntry, seal
from audio_tokens.shards.publish import publish_bytes
from audio_tokens.shards.sources.addresses.reach import named_by, permitted
from audio_tokens.shards.sources.addresses.remote import open_url

FORMAT = "audio-tokens-shards"
VERSION = 1
MANIFEST = "dataset.json"
REJECTS = "rejects.jsonl"
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


class Dataset:
    """A published data set, in a local folder (read through memory) or under a URL (read as streams)."""

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
        self._reader = lru_cache(maxsize=64)(ShardReader)  # a mapping costs a file descriptor, not memory

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
        return sum(shard.clips for shard in self.shards)

    def shards_of(self, *places: str) -> tuple[int, ...]:
        """Return the indices of the shards of these places, in order. Raises UserError for an unknown place."""
        for place in places:
            if place not in self.places:
                hint = did_you_mean(place, self.places)
                raise UserError(f"{self.location} has no split or fold {place!r}; {hint}")
        return tuple(index for index, shard in enumerate(self.shards) if shard.place in places)

    def read(self, shard_index: int, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        """Yield the samples start..stop of a shard, in its order; arrays are read-only.

        Raises UserError where the shard is damaged, OSError where it cannot be read.
        """
        shard = self.shards[shard_index]
        try:
            for sample in self._samples(shard_index, start, stop):
                self._check_sample(sample)
                yield sample
        except ValueError as error:
            if shard.name in str(error):
                raise
            raise UserError(f"shard {self.location}/{shard.name} is damaged ({error})") from None
        except Exception as error:  # whatever a file system behind a URL raises
            if self._local or isinstance(error, OSError):
                raise
            raise ConnectionError(f"{self.location}/{shard.name} cannot be read: {error}") from None

    def _samples(self, shard_index: int, start: int, stop: int | None) -> Iterator[Sample]:
        shard = self.shards[shard_index]
        if self._local:
            yield from self._local_reader(shard_index).read(start, stop)
            return
        with open_url(named_by(f"{self.location}/{MANIFEST}", shard.name)) as file:
            for clip_index, sample in enumerate(stream(file)):
                if stop is not None and clip_index >= stop:
                    return
                if clip_index >= start:
                    yield sample

    def sample(self, shard_index: int, clip_index: int) -> Sample:
        """Return one sample of a local shard. Raises UserError under a URL, which is read as a stream."""
        if not self._local:
            raise UserError(f"{self.location} is remote and read as a stream; copy it to a local folder first")
        sample = self._local_reader(shard_index).sample(clip_index)
        try:
            self._check_sample(sample)
        except ValueError as error:
            name = self.shards[shard_index].name
            raise UserError(f"shard {self.location}/{name} is damaged ({error})") from None
        return sample

    def _check_sample(self, sample: Sample) -> None:
        labels = checked(sample.meta, META)["labels"]
        if sample.array_TF.ndim != 2:
            raise ValueError(f"the array of {sample.key} has the shape {list(sample.array_TF.shape)}")
        if not all(type(label) is int and 0 <= label < len(self.labels) for label in labels):
            raise ValueError(f"{sample.key} has the labels {labels!r:.60}, and there are {len(self.labels)}")

    def _local_reader(self, shard_index: int) -> ShardReader:
        return self._reader(Path(self.location) / self.shards[shard_index].name)

    @cached_property
    def _local(self) -> bool:
        return "://" not in self.location


def write_manifest(
    folder: Path,
    *,
    build: Mapping[str, Any],
    producer: Mapping[str, Any],
    labels: tuple[str, ...],
    single_label: bool,
    shards: tuple[ShardEntry, ...],
    rejected: int,
    extra: Mapping[str, Any],
) -> None:
    """Publish `dataset.json`, after its integrity.json: the commit of everything that already lies in `folder`.

    `build` says what was built from what and how; `producer` is handed through to whoever reads the arrays.
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
    known = {shard.name: FileEntry(bytes=shard.bytes, sha256=shard.sha256) for shard in shards}
    known[MANIFEST] = FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    names = [REJECTS, *known, *(index_file(Path(shard.name)).name for shard in shards)]
    seal(folder, FORMAT, {"listing": build["fingerprint"]}, names, known)
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
    checked(
        manifest["totals"], dict.fromkeys(("clips", "frames", "bytes", "rejected"), int) | {"seconds": (float, int)}
    )
    for entry in manifest["shards"]:
        checked(entry, ENTRY)
        name = entry["name"]
        a_file = "/" not in name and name not in ("", ".", "..") and len(name.encode()) <= MOST_NAME_BYTES
        if not a_file or min(entry["clips"], entry["frames"], entry["bytes"]) < 0:
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
