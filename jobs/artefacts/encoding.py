"""Tokens as a set of tasks makes them: each task a part per split or fold, all together a token store.

The tasks are those of a source of sound, or the shards of a data set. T frames, F bands, P positions, Q token streams.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float

from audio_tokens.errors import UserError
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.inputs.front_end import View
from audio_tokens.shards.dataset.manifest import Dataset, place_rank
from audio_tokens.shards.publish import is_temporary
from audio_tokens.shards.sources.addresses.reach import allow, allowed
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.task_set import TASKS, Maker, Record, TaskSet
from audio_tokens.shards.tokens.token_parts import TokenClip, pack, write_part, write_selection
from audio_tokens.shards.tokens.token_store import VIEWS

PART_DAMAGED = (BadZipFile, ValueError, KeyError, EOFError)  # what reading one that a disk has damaged says
BLOCK_CLIPS = 32  # handed to the tokenizer together: what a GPU wants, and 1 MB of mel each


class MelClip(NamedTuple):
    """A clip as it lies in a shard."""

    key: str
    labels: tuple[str, ...]
    place: str
    group: str
    source_id: str
    mel_TF: Float[np.ndarray, "T F"]


class ShardClips:
    """The clips of a data set of mel shards: a source whose tasks are the shards."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self.labels = dataset, dataset.labels

    def __reduce__(self) -> tuple[Any, ...]:
        return _shard_clips, (self._dataset.location, allowed())  # each process opens the shards itself

    def tasks(self) -> list[Task]:
        return [
            Task(name=shard.name, work=[index, shard.sha256], clips=shard.clips, bytes=shard.bytes)
            for index, shard in enumerate(self._dataset.shards)
        ]

    def clips(self, task: Task) -> Iterator[MelClip]:
        for sample in self._dataset.read(task.work[0]):
            meta = sample.meta
            labels = tuple(self.labels[label] for label in meta["labels"])
            yield MelClip(sample.key, labels, meta["place"], meta["group"], meta["id"], sample.array_TF)


def only_itself(clip: MelClip, before: MelClip | None) -> list[View]:
    """Return the one view of a clip that is mel already."""
    return [View(clip.mel_TF, dict.fromkeys(clip.labels, 1.0))]


@dataclass(frozen=True, kw_only=True)
class TokenMaker(Maker):
    """Makes tokens of clips and of their views, and a store of the tokens.

    Args:
        to_views: turns a clip, and the one before it, into its own mel and that of its views
        codebook: its folder
        codebook_hash: what it must hold: it may have been fitted anew meanwhile
        top: nearest tokens to be stored of every position
        mixed: whether views hold more than one clip, so that shares are stored beside their labels
        gpus: on which the tokenizer searches, task by task
        out: the store
        attributes: what it says of itself
        parents: the ids of what it is made from, by their role
    """

    to_views: Callable[[Any, Any], list[View]]
    codebook: str
    codebook_hash: str
    top: int
    mixed: bool
    gpus: int
    out: Path
    attributes: Mapping[str, Any]
    parents: Mapping[str, str | None]

    def transform(self, clip: Any, before: Any) -> list[View]:
        return self.to_views(clip, before)

    def open(self, folder: Path, index: int, label_ids: Mapping[str, int]) -> "TaskTokens":
        return TaskTokens(self, folder, index, label_ids)

    def sweep(self, folder: Path, under_way: bool) -> None:
        for path in folder.iterdir():
            if path.name != TASKS and (is_temporary(path.name) or not under_way):
                path.unlink()

    def publish(self, tasks: TaskSet, records: Iterable[Record]) -> None:
        """Put all parts together as the store, and remove them."""
        parts: dict[str, list[Path]] = {}
        rejects: list[tuple[str, str]] = []
        left_out: list[str] = []
        stand_ins = 0
        try:
            for record in records:
                rejects += record.rejects
                left_out += [record.left_out] if record.left_out else []
                stand_ins += record.made["stand_ins"]
                for place, name in record.made["parts"].items():
                    part = _without_repeated(tasks.folder / name, place, record)
                    parts.setdefault(place, []).extend([part] if part else [])
            places = sorted(filter(parts.get, parts), key=lambda place: (place_rank(place.removesuffix(VIEWS)), place))
            attributes = {**self.attributes, **({"left_out": left_out} if left_out else {})}
            pack(self.out, {place: parts[place] for place in places}, attributes, rejects, self.parents)
        except UserError:
            raise
        except (*PART_DAMAGED, FileNotFoundError) as error:
            if damaged := _removed_if_damaged(sorted(tasks.folder.glob("*.npz"))):
                what = f"{', '.join(damaged)} in {tasks.folder} was damaged ({error}) and is removed"
                raise UserError(f"{what}; the same command makes it again") from None
            raise UserError(
                f"{tasks.folder} is damaged ({error}); remove that folder and give the same command again"
            ) from None
        shutil.rmtree(tasks.folder)
        if stand_ins:
            say(f"encode: {stand_ins} views could not become mel (too short): the clips stand for them themselves")


class TaskTokens:
    """The tokens of one task: encoded in blocks, published at the end as a part per split or fold and its views."""

    def __init__(self, maker: TokenMaker, folder: Path, index: int, label_ids: Mapping[str, int]) -> None:
        self._maker, self._folder, self._index, self._label_ids = maker, folder, index, label_ids
        device = index % maker.gpus if maker.gpus else None
        self._tokenizer = _tokenizer(maker.codebook, maker.codebook_hash, device)
        self._block: list[tuple[Any, str, View]] = []
        self._by_place: dict[str, list[TokenClip]] = {}
        self._stand_ins = 0

    def add(self, clip: Any, made: list[View]) -> None:
        """Take a clip: the clip itself, then its views."""
        own, *others = made
        self._stand_ins += sum(view.stands_in for view in others)
        self._block += [(clip, clip.place, own), *((clip, clip.place + VIEWS, view) for view in others)]
        while len(self._block) >= BLOCK_CLIPS:
            self._encode(BLOCK_CLIPS)

    def finish(self) -> dict[str, Any]:
        """Publish the parts, and say which they are and how many views are the clip itself."""
        self._encode(BLOCK_CLIPS)
        parts = {place: f"{self._index:06d}-{place.replace('/', '-')}.npz" for place in self._by_place}
        for place, name in parts.items():
            write_part(self._folder / name, self._by_place[place])
        files = [(name, (self._folder / name).stat().st_size) for name in parts.values()]
        return {"files": files, "parts": parts, "stand_ins": self._stand_ins}

    def _encode(self, clips: int) -> None:
        block, self._block = self._block[:clips], self._block[clips:]
        tokens = self._tokenizer.encode_mels([view.mel_TF for _, _, view in block], self._maker.top)
        for (clip, place, view), (ids_PQ, top_ids_PQM, top_cosines_PQM) in zip(block, tokens, strict=True):
            beside = {} if top_ids_PQM is None else {"top_ids": top_ids_PQM, "top_cosines": top_cosines_PQM}
            if self._maker.mixed and place.endswith(VIEWS):
                beside["label_shares"] = np.array(list(view.shares.values()), np.float32)
            label_ids = [self._label_ids[label] for label in view.shares]
            self._by_place.setdefault(place, []).append(
                TokenClip(key=clip.key, group=clip.group, label_ids=label_ids, ids_PQ=ids_PQ, beside=beside)
            )

    def __enter__(self) -> "TaskTokens":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open: a part is written in one go."""


def _removed_if_damaged(files: Iterable[Path]) -> list[str]:
    """Remove those of a store's parts that cannot be read, so that their tasks are done again; return their names."""
    damaged = []
    for file in files:
        try:
            with np.load(file) as arrays:
                for name in arrays.files:
                    arrays[name]
        except PART_DAMAGED:
            file.unlink()
            damaged.append(file.name)
    return damaged


@lru_cache(maxsize=16)  # one a GPU: a process meets them in turn
def _tokenizer(codebook: str, codebook_hash: str, device: int | None) -> Any:
    """Return the codebook's tokenizer. Raises UserError where the folder holds another codebook by now."""
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer

    tokenizer = AudioTokenizer.from_pretrained(codebook, device)
    if tokenizer.codebook.hash != codebook_hash:
        raise UserError(f"{codebook} was fitted anew meanwhile; give the same command again")
    return tokenizer


def _shard_clips(location: str, schemes: tuple[str, ...]) -> ShardClips:
    allow(schemes)
    return ShardClips(Dataset.open(location))


def _without_repeated(part: Path, place: str, record: Record) -> Path | None:
    """Return the part without the clips whose keys an earlier task has used; None where no clip is left."""
    own = place.removesuffix(VIEWS)
    kept_C = np.array([clip.key not in record.repeated for clip in record.clips if clip.place == own])
    if kept_C.all():
        return part
    if not kept_C.any():
        return None
    with np.load(part, allow_pickle=False) as arrays:
        rows = len(arrays["offsets"])
    unique = part.with_name(f"{part.stem}-unique.npz")
    write_selection(unique, part, np.repeat(kept_C, rows // len(kept_C)))
    return unique
