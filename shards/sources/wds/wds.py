"""`wds:PATTERN[,labels=FILE][,val=0.05][,seed=0]`: webdataset shards of audio, `<key>.flac` beside `<key>.json`.

The JSON holds `label` or `labels` (names or MIDs) or `label_id`, one or a list of them, and perhaps `id`; in its place
`<key>.cls` may hold the number of the label. Labels are AudioSet's unless `labels` names a file with one a line, or a
CSV table. A shard whose name or folder says val or valid, eval or test, is that split; of the others, clips validate by
a hash of their id.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from os.path import commonpath
from pathlib import PurePosixPath
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.seeds import HASHES, hashed
from audio_tokens.shards.labels import audioset
from audio_tokens.shards.sources.clip import Clip, Reject, id_key
from audio_tokens.shards.sources.files import AUDIO_ENDINGS, find_files
from audio_tokens.shards.sources.label_list import read_labels, same_text
from audio_tokens.shards.sources.registry import Task, split_options, split_word, val_and_seed
from audio_tokens.shards.sources.tars import TAR_ENDINGS
from audio_tokens.shards.sources.wds.samples import Sample, samples

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


class WebdatasetAudio:
    """One task a shard."""

    def __init__(self, pattern: str, labels: tuple[str, ...], val_share: float, seed: int) -> None:
        self._pattern, self._labels, self._val_share, self._seed = pattern, labels, val_share, seed

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def tasks(self) -> list[Task]:
        files = find_files(self._pattern, TAR_ENDINGS)
        validated = any(_split(file.url) == "val" for file in files)
        val_share = 0.0 if validated else self._val_share
        names = _shard_names([file.url for file in files])
        return [
            Task(
                name=file.name,
                work=[file.url, name, _split(file.url), val_share, self._seed],
                bytes=file.bytes,
            )
            for file, name in zip(files, names, strict=True)
        ]

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        url, shard, split, val_share, seed = task.work
        for sample in samples(url):
            source_id = sample.key if shard is None or YOUTUBE_ID.fullmatch(sample.key) else f"{shard}/{sample.key}"
            try:
                if sample.fault:
                    raise ValueError(sample.fault)
                source_id, labels = self._about(sample, source_id)
            except (ValueError, RecursionError) as error:
                yield Reject(source_id, " ".join(str(error).split()))
                continue
            member = next((sample.parts[ending] for ending in AUDIO_ENDINGS if ending in sample.parts), None)
            if member is None:
                endings = ", ".join(sorted(sample.parts))
                yield Reject(source_id, f"no audio beside its JSON; there is {endings}")
                continue
            if member.data is None:
                yield Reject(source_id, member.problem)
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
                open=partial(bytes, member.data),
            )

    def _about(self, sample: Sample, source_id: str) -> tuple[str, tuple[str, ...]]:
        """Return the id and the labels of a sample. Raises ValueError with the reason where they cannot be told."""
        if "json" not in sample.parts and "cls" in sample.parts:
            text = (sample.parts["cls"].data or b"").decode("utf-8", "replace").strip()
            if not re.fullmatch(r"-?\d{1,9}", text):
                raise ValueError(f"its .cls holds {text[:40]!r}, not the number of a label")
            return source_id, (self._label(int(text)),)
        about = _json_of(sample)
        found = about.get("id")
        if isinstance(found, str | int) and str(found):
            try:
                source_id = str(found).encode().decode()
            except UnicodeEncodeError:
                raise ValueError(f"its id {found!a} is no text") from None
        if name := next((name for name in ("label", "labels") if name in about), None):
            names = audioset().name_of_mid
            labels = [_checked(label, str, name, "the name of a label") for label in _listed(about[name])]
            return source_id, tuple(names.get(label, same_text(label)) for label in labels)
        if "label_id" in about:
            numbers = [_checked(number, int, "label_id", "a whole number") for number in _listed(about["label_id"])]
            return source_id, tuple(map(self._label, numbers))
        raise ValueError(f"its JSON has neither label nor label_id; it has {', '.join(map(str, about)) or 'nothing'}")

    def _label(self, number: int) -> str:
        return self._labels[number] if 0 <= number < len(self._labels) else str(number)


def source(where: str) -> WebdatasetAudio:
    """Open shards by pattern. Raises UserError where there are none, or an option makes no sense."""
    pattern, options = _split_pattern(where)
    val_share, seed = val_and_seed("wds", options)
    labels = audioset().names
    if "labels" in options:
        try:
            labels = read_labels(options["labels"])
        except (FileNotFoundError, IsADirectoryError):
            raise UserError(f"wds: there is no file of labels at {options['labels']}") from None
    opened = WebdatasetAudio(pattern, labels, val_share, seed)
    find_files(pattern, TAR_ENDINGS)  # a pattern without files is the user's mistake, and told at once
    return opened


def _json_of(sample: Sample) -> dict[str, Any]:
    member = sample.parts.get("json")
    if member is None:
        raise ValueError(f"no JSON beside its sound; there is {', '.join(sorted(sample.parts))}")
    if member.data is None:
        raise ValueError(f"its JSON is {member.problem}")
    try:
        about = json.loads(member.data)
    except json.JSONDecodeError as error:
        raise ValueError(f"its JSON is broken: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"its JSON is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("its JSON is nested too deep") from None
    if not isinstance(about, dict):
        raise ValueError(f"its JSON is {str(about)[:40]!r}, not an object with label or label_id")
    return about


def _checked(value: Any, kind: type, name: str, wanted: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"its {name} is {str(value)[:40]!r} ({type(value).__name__}), not {wanted}")
    return value


def _split_pattern(where: str) -> tuple[str, dict[str, str]]:
    """Split options off a pattern that may hold commas itself, in braces."""
    found = re.fullmatch(r"(.*?)((?:,\w+=[^,]*)*)", where)
    assert found is not None
    pattern, options = found.groups()
    return pattern, split_options(options, ("labels", "val", "seed"))[1] if options else {}


def _shard_names(urls: list[str]) -> list[str | None]:
    """Return what tells the shards apart: the files' names without endings, and their folders where names repeat.

    Every shard may number its samples from 0; where there is one shard, its samples' names are enough.
    """
    if len(urls) == 1:
        return [None]
    names = [PurePosixPath(url).name for url in urls]
    if len(set(names)) < len(names):
        above = commonpath([str(PurePosixPath(url).parent) for url in urls])
        names = [str(PurePosixPath(url).relative_to(above)) for url in urls]
    return [re.sub(r"\.(tar(\.\w+)?|tgz)$", "", name) for name in names]


def _split(url: str) -> str | None:
    """Return the split that a shard's name or folder says last, or None where it is training or says nothing."""
    words = re.split(r"[^a-z]+", "/".join(PurePosixPath(url).parts[-2:]).lower())
    said = next((split for word in reversed(words) if (split := split_word(word))), None)
    return None if said == "train" else said


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
