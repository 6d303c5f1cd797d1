"""Where labelled sound comes from: `open_source("KIND:WHERE")` finds the source of that kind.

A source lists its work once (`tasks`, a pure function of the listing) and yields the clips of one task at a time, in
whatever process asks: it is pickled to the workers, so it holds the listing's frame and the tasks hold the rows.
"""

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, NamedTuple, Protocol, runtime_checkable

from audio_tokens.errors import UserError, did_you_mean
from audio_tokens.shards.sources.clip import Clip, Reject


class Kind(NamedTuple):
    """A kind of source: the module with `source(where: str) -> Source`, how it is written, and what it reads."""

    module: str
    form: str
    reads: str


IN = "audio_tokens.shards.sources"
SOURCES = {
    "soundscapes": Kind(
        f"{IN}.soundscapes.soundscapes",
        "soundscapes[:CLIPS[,clip_s=4][,seed=0]]",
        "synthetic clips of 16 classes, made as read",
    ),
    "esc50": Kind(f"{IN}.esc50", "esc50:DIR", "the published ESC-50 layout, audio/ and meta/esc50.csv, with its folds"),
    "csv": Kind(
        f"{IN}.csv_list",
        "csv:FILE",
        "a table: path, labels (separated by ;), split or fold, perhaps group; offset and duration, or start and end "
        "(seconds: a part of a recording); also file, filename; label, class, category, tags; without split or fold a "
        "split is drawn",
    ),
    "folder": Kind(
        f"{IN}.folder",
        "folder:DIR",
        "subfolders named after classes, perhaps below train/, val/, test/ or fold1/, fold2/; else a split is drawn",
    ),
    "manifest": Kind(
        f"{IN}.manifest",
        "manifest:FILE",
        "JSON lines, plain or .gz: NeMo's (audio_filepath, offset, duration, label) or Lhotse's cuts; perhaps split, "
        "fold, group",
    ),
    "hf": Kind(
        f"{IN}.hf",
        "hf:NAME|DIR",
        "a Hugging Face data set: parquet with audio (bytes) and label, labels or category, or an audiofolder",
    ),
    "audioset": Kind(
        f"{IN}.audioset.audioset",
        "audioset:URL[,subset=all][,val=0.05][,seed=0]",
        "AudioSet as parquet (video_id, audio, labels) or as tars with the segment lists (--segments)",
    ),
    "wds": Kind(
        f"{IN}.wds.wds",
        "wds:PATTERN[,labels=FILE][,val=0.05][,seed=0]",
        "webdataset tars: KEY.flac (wav, mp3, m4a ...) beside KEY.json with label or label_id, perhaps id; or KEY.cls",
    ),
}

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """One piece of work: an input file, or a range of a large one.

    Args:
        name: what a user recognises in a message
        work: what the source needs to find the clips again; values that JSON can hold, since they are hashed
        clips: how many clips and rejects it will yield, where the listing knows; checked when it does
        bytes: how much there is to read, where the listing knows
        limit: read only so many clips
        number: what its record and shards are filed under; its place in the listing unless given
    """

    name: str
    work: Any
    clips: int | None = None
    bytes: int | None = None
    limit: int | None = None
    number: int | None = None

    @property
    def promised_clips(self) -> int | None:
        return self.clips if self.clips is None or self.limit is None else min(self.clips, self.limit)


@runtime_checkable
class Source(Protocol):
    """`labels` are in the order of their ids; `tasks` and `clips` give the same answers in every process."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    def tasks(self) -> list[Task]: ...

    def clips(self, task: Task) -> Iterator[Clip | Reject]: ...


@runtime_checkable
class Surveyed(Protocol):
    """A source whose listing tells the splits or folds of its clips, and whether each has exactly one label."""

    @property
    def places(self) -> tuple[str, ...]: ...

    @property
    def single_label(self) -> bool: ...


def open_source(spec: str) -> Source:
    """Return the source that `spec` names: `soundscapes[:CLIPS[,clip_s=4]]`, `esc50:DIR`, `csv:FILE`, ...

    Raises UserError for an unknown kind, and for a place where there is no such source.
    """
    kind, _, where = spec.partition(":")
    if kind not in SOURCES:
        raise UserError(f"source {spec!r} is of no known kind; {did_you_mean(kind, SOURCES, form='{}:')}")
    source: Source = importlib.import_module(SOURCES[kind].module).source(where)
    return source


def sources_table() -> str:
    """Return what each kind of source reads, and its columns, for people."""
    lines = ["sources:"]
    for kind in SOURCES.values():
        lines += [f"  {kind.form}", *(f"      {line}" for line in wrap(kind.reads, 100))]
    return "\n".join([*lines, "  Columns that are not used are named. Paths are relative to the list's folder."])


def numbered(tasks: Iterable[Task]) -> list[tuple[int, Task]]:
    """Return the tasks with the numbers that they are filed under, in the order of the listing."""
    return [(place if task.number is None else task.number, task) for place, task in enumerate(tasks)]


def first_clips(tasks: list[Task], limit: int) -> list[Task]:
    """Return the head of a task list: at most `limit` clips (a task that cannot tell its clips counts as enough)."""
    head: list[Task] = []
    for task in tasks:
        if limit <= 0:
            break
        head.append(replace(task, limit=limit))
        limit -= limit if task.clips is None else task.clips
    return head


def split_word(word: str) -> str | None:
    """Return the split (train, val, test) that a word stands for, or None."""
    return SPLIT_WORDS.get(word.strip().lower())


def val_and_seed(kind: str, options: dict[str, str]) -> tuple[float, int]:
    """Return the share of the training clips that validate, and the seed. Raises UserError where they are none."""
    try:
        val_share, seed = float(options.get("val", "0.05")), int(options.get("seed", "0"))
    except ValueError:
        raise UserError(f"{kind}: val and seed are numbers, not {options}") from None
    if not 0 <= val_share < 1:
        raise UserError(f"{kind}: val={val_share:g} is not a share in [0, 1)")
    return val_share, seed


def split_options(where: str, known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Split `WHERE,name=value,...` into WHERE and its options. Raises UserError for an option not in `known`."""
    where, *words = where.split(",")
    if "=" in where:  # only options
        where, words = "", [where, *words]
    options = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in known or not equals:
            raise UserError(f"source option {word!r} is unknown; {did_you_mean(name, known, form='{}=')}")
        options[name] = value
    return where, options
