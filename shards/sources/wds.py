"""`wds:PATTERN[,labels=FILE][,val=0.05][,seed=0]`: webdataset shards of audio, `<key>.flac` beside `<key>.json`.

The JSON holds `label` (names or MIDs) or `label_id`, one or a list of them, and perhaps `id`. Labels are AudioSet's
unless `labels` names a file with one a line. A shard whose name or folder says val or valid, eval or test, is that
split; of the others, clips validate by a hash of their id.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.seeds import HASHES, hashed
from audio_tokens.shards.labels import audioset
from audio_tokens.shards.sources.clip import Clip, Reject, id_key
from audio_tokens.shards.sources.files import AUDIO_ENDINGS, find_files, tar_members, text_lines
from audio_tokens.shards.sources.registry import Task, split_options, val_and_seed

SPLIT_WORDS = {
    "train": None,
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "eval": "test",
}


class WebdatasetAudio:
    """One task a shard."""

    def __init__(self, pattern: str, labels: tuple[str, ...], val_share: float, seed: int) -> None:
        self._pattern, self._labels, self._val_share, self._seed = pattern, labels, val_share, seed

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def tasks(self) -> list[Task]:
        files = find_files(self._pattern, ".tar")
        validated = any(_split(file.url) == "val" for file in files)
        val_share = 0.0 if validated else self._val_share
        return [
            Task(
                name=PurePosixPath(file.url).name,
                work=[file.url, _split(file.url), val_share, self._seed],
                bytes=file.bytes,
            )
            for file in files
        ]

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        url, split, val_share, seed = task.work
        for stem, members in groupby(tar_members(url), lambda member: _split_name(member[0])[0]):
            parts = {_split_name(name)[1]: data for name, data in members}
            if not stem:
                continue
            audio = next((parts[ending] for ending in AUDIO_ENDINGS if ending in parts), None)
            try:
                about = json.loads(parts["json"])
                source_id = _id_of(about) or stem
                labels = self._labels_of(about)
            except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
                yield Reject(stem, "no JSON with label or label_id beside it")
                continue
            if audio is None:
                yield Reject(source_id, f"no audio beside its JSON ({', '.join(AUDIO_ENDINGS)})")
                continue
            place = split
            if place is None:
                place = "val" if hashed(seed, "val", source_id) < val_share * HASHES else "train"
            yield Clip(
                key=id_key(source_id),
                labels=labels,
                place=place,
                group=source_id,
                source_id=source_id,
                open=partial(bytes, audio),
            )

    def _labels_of(self, about: dict[str, Any]) -> tuple[str, ...]:
        if "label" in about:
            names = audioset().name_of_mid
            return tuple(names.get(label, str(label)) for label in _listed(about["label"]))
        return tuple(
            self._labels[number] if 0 <= number < len(self._labels) else str(number)
            for number in _listed(about["label_id"])
        )


def source(where: str) -> WebdatasetAudio:
    """Open shards by pattern. Raises UserError where there are none, or an option makes no sense."""
    pattern, options = _split_pattern(where)
    val_share, seed = val_and_seed("wds", options)
    labels = audioset().names
    if "labels" in options:
        try:
            labels = tuple(line.strip() for line in text_lines(options["labels"]) if line.strip())
        except (FileNotFoundError, IsADirectoryError):
            raise UserError(f"wds: there is no file of labels at {options['labels']}") from None
        if not labels or len(set(labels)) < len(labels):
            raise UserError(f"wds: {options['labels']} needs a label a line, each once; it has {len(labels)} lines")
    opened = WebdatasetAudio(pattern, labels, val_share, seed)
    find_files(pattern, ".tar")  # a pattern without files is the user's mistake, and told at once
    return opened


def _id_of(about: dict[str, Any]) -> str:
    """Return the id that a clip's JSON gives it, or "". Raises ValueError where that is no UTF-8."""
    found = about.get("id")
    return str(found).encode().decode() if isinstance(found, str | int) else ""


def _split_pattern(where: str) -> tuple[str, dict[str, str]]:
    """Split options off a pattern that may hold commas itself, in braces."""
    found = re.fullmatch(r"(.*?)((?:,\w+=[^,]*)*)", where)
    assert found is not None
    pattern, options = found.groups()
    return pattern, split_options(options, ("labels", "val", "seed"))[1] if options else {}


def _split_name(name: str) -> tuple[str, str]:
    """Cut a member's name into key and ending at the first dot of its last part, as webdataset does."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    return (path.parent / stem).as_posix() if stem else "", ending.lower()


def _split(url: str) -> str | None:
    """Return the split that a shard's name or folder says last, or None where it is training or says nothing."""
    words = re.split(r"[^a-z]+", "/".join(PurePosixPath(url).parts[-2:]).lower())
    return next((SPLIT_WORDS[word] for word in reversed(words) if word in SPLIT_WORDS), None)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
