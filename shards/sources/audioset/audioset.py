"""`audioset:URL[,subset=all][,val=0.05][,seed=0][,segments=URL]`: AudioSet in either public layout, read where it lies.

- parquet: `data/{bal_train,eval,unbal_train}/*.parquet` with video_id, audio{bytes, path} and labels (MIDs);
- tar: `*.tar` with `audio/<part>/<id>.flac`, and the segment lists beside them or at `segments`.

`subset` is all, balanced, a ratio, a number of training clips, or a union of them (`balanced+0.1`); the evaluation part
is always there, as the test. Validation clips are drawn from the training part by a hash of the video's id.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.shards.labels import audioset
from audio_tokens.shards.sources.audioset.places import EVAL, Choice, part_of
from audio_tokens.shards.sources.audioset.segments import read_segments, segment_table
from audio_tokens.shards.sources.clip import Clip, Reject, id_key
from audio_tokens.shards.sources.files import AUDIO_ENDINGS, FileOfSource, find_files
from audio_tokens.shards.sources.parquet import batches, open_parquet
from audio_tokens.shards.sources.registry import Task, split_options, val_and_seed
from audio_tokens.shards.sources.tars import TAR_ENDINGS, tar_members
from audio_tokens.shards.subset import parse_subset

# What the layout's columns are, as pyarrow spells their types.
COLUMNS = {
    "video_id": r"^(large_)?string(_view)?$",
    "audio": r"^struct<.*\bbytes: (large_)?binary(_view)?\b",
    "labels": r"^(large_)?list<\w+: (large_)?string(_view)?\b",
}
TASK_ROWS = 1024
# Numbers set aside for the tasks of a file: one that cannot be read yet moves no other's when it is repaired.
FILE_TASKS = 1000
LISTING_THREADS = 16  # footers over a network: waiting, not work


def source(where: str) -> "ParquetAudioSet | TarAudioSet":
    """Open AudioSet at a URL. Raises UserError where neither layout is there, or an option makes no sense."""
    url, options = split_options(where, ("subset", "val", "seed", "segments"))
    if not url:
        raise UserError("audioset:URL names a folder, a bucket or a hub's data set")
    val_share, seed = val_and_seed("audioset", options)
    choice = Choice(val_share=val_share, seed=seed)
    files = find_files(url, (".parquet", *TAR_ENDINGS, ".csv"))
    lists = find_files(options["segments"], ".csv") if "segments" in options else files
    segments = tuple(file.url for file in lists if "segments" in file.name and file.name.endswith(".csv"))
    parquets = [file for file in files if file.name.endswith(".parquet")]
    tars = [file for file in files if file.name.endswith(TAR_ENDINGS)]
    if not parquets and not tars:
        raise UserError(f"there is no AudioSet at {url}: no *.parquet and no *.tar")
    if not parquets and not segments:
        raise UserError(f"{url} has tars but no *segments*.csv; name the lists' place with --segments")
    found = ParquetAudioSet(parquets, choice, segments) if parquets else TarAudioSet(tars, choice, segments)
    found.choose(options.get("subset", "all"))
    return found


class AudioSet(ABC):
    """What both layouts have in common."""

    def __init__(self, files: list[FileOfSource], choice: Choice, lists: tuple[str, ...]) -> None:
        self._files, self._lists, self._choice = files, lists, choice

    @property
    def labels(self) -> tuple[str, ...]:
        return audioset().names

    def choose(self, subset: str) -> None:
        """Take a subset of the training clips. Raises UserError where it is no subset."""
        chosen = parse_subset(subset)
        unknown = set(chosen.names) - {"all", "balanced"}
        if unknown:
            raise UserError(f"audioset: subset {unknown.pop()!r} is none of all, balanced, a ratio, a number")
        self._choice = replace(
            self._choice,
            everything="all" in chosen.names,
            balanced="balanced" in chosen.names,
            below=chosen.threshold(self.training_ids(), self._choice.seed),
        )
        self._files = [file for file in self._files if self._choice.wants(self.part(file.url))]

    @abstractmethod
    def part(self, url: str) -> str | None:
        """Return the published part that a file holds, where its address tells."""

    @abstractmethod
    def training_ids(self) -> Iterator[str]:
        """Yield the id of every training clip, perhaps more than once."""

    def _clip(
        self, part: str, video_id: str, mids: tuple[str, ...], data: bytes, promised_s: float | None
    ) -> Clip | None:
        place = self._choice.place(part, video_id)
        if place is None:
            return None
        names = audioset().name_of_mid
        return Clip(
            key=id_key(video_id),
            labels=tuple(names.get(mid, mid) for mid in mids),  # an unknown one is found out when it is stored
            place=place,
            group=video_id,
            source_id=video_id,
            open=partial(bytes, data),
            promised_s=promised_s,
        )

    def _work(self, *what: Any) -> list[Any]:
        """What identifies a task, with all that decides which of its clips are taken."""
        choice = self._choice
        return [*what, choice.everything, choice.balanced, choice.below, choice.val_share, choice.seed, *self._lists]

    def __getstate__(self) -> dict[str, Any]:
        """What goes to the workers: the tasks name their files themselves."""
        return self.__dict__ | {"_files": []}


class ParquetAudioSet(AudioSet):
    """Row groups are read one at a time, a few rows at a time; nothing is staged on disk."""

    def tasks(self) -> list[Task]:
        """A task per file, or per range of row groups of a large one."""
        with ThreadPoolExecutor(LISTING_THREADS) as threads:
            listed = threads.map(self._tasks_of, self._files)
            return [
                replace(task, number=place * FILE_TASKS + of_file)
                for place, tasks in enumerate(listed)
                for of_file, task in enumerate(tasks)
            ]

    def _tasks_of(self, file: FileOfSource) -> list[Task]:
        name, part = file.name, self.part(file.url)
        try:
            with _open_parquet(file.url) as parquet:
                rows = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        except OSError:  # the task will fail, and be reported, when it is run
            return [Task(name=name, work=self._work(file.url, part, 0, None))]
        bounds, held = [0], 0
        task_rows = max(TASK_ROWS, 2 * sum(rows) // FILE_TASKS + 1)  # two tasks that follow each other hold more
        for group, count in enumerate(rows):
            if held and held + count > task_rows:
                bounds.append(group)
                held = 0
            held += count
        return [
            Task(
                name=f"{name} row groups {start}-{stop - 1}",
                work=self._work(file.url, part, start, stop),
                clips=sum(rows[start:stop]) if self._choice.everything else None,
                bytes=None if file.bytes is None else file.bytes * sum(rows[start:stop]) // max(1, sum(rows)),
            )
            for start, stop in pairwise([*bounds, len(rows)])
            if stop > start
        ]

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        url, part, start, stop, *_ = task.work
        table = segment_table(self._lists) if self._lists else None
        with _open_parquet(url) as parquet:
            groups = range(start, parquet.num_row_groups if stop is None else stop)
            with_path = "path" in [field.name for field in parquet.schema_arrow.field("audio").type]
            columns = ["video_id", "audio.bytes", "labels", *(["audio.path"] if with_path else [])]
            for batch in batches(parquet, url, batch_size=8, row_groups=list(groups), columns=columns):
                audio = batch.column("audio")
                for row in range(batch.num_rows):
                    video_id, mids = batch["video_id"][row].as_py(), batch["labels"][row].as_py()
                    if not video_id:
                        yield Reject(f"{url} row {row}", "no video_id")
                        continue
                    segment = table.find(video_id) if table else None
                    found = audio[row].as_py() or {}
                    sound = found.get("bytes")
                    if sound is None and found.get("path"):
                        yield Reject(video_id, f"the table holds no sound, only its path {found['path']!r}")
                        continue
                    clip = self._clip(part, video_id, tuple(mids or ()), sound or b"", segment and segment.seconds)
                    if clip:
                        yield clip

    def part(self, url: str) -> str:
        """Raises UserError where the folder of the file is none of the parts'."""
        part = part_of(PurePosixPath(url).parent.name)
        if part is None:
            raise UserError(f"{url} lies in none of bal_train, eval, unbal_train: not AudioSet's parquet layout")
        return part

    def training_ids(self) -> Iterator[str]:
        for file in self._files:
            if self.part(file.url) != EVAL:
                yield from self._ids_in(file)

    def _ids_in(self, file: FileOfSource) -> Iterator[str]:
        try:
            with _open_parquet(file.url) as parquet:
                for batch in batches(parquet, file.url, columns=["video_id"]):
                    yield from filter(None, batch.column(0).to_pylist())
        except OSError as error:
            raise UserError(f"a number of clips needs the ids in {file.url}, which cannot be read: {error}") from None


class TarAudioSet(AudioSet):
    """One task a tar, read front to back; labels from the segment lists, which promise the seconds as well."""

    def tasks(self) -> list[Task]:
        return [Task(name=file.name, work=self._work(file.url), bytes=file.bytes) for file in self._files]

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        table = segment_table(self._lists)
        for member in tar_members(task.work[0]):
            path = PurePosixPath(member.name)
            if path.suffix.lower().lstrip(".") not in AUDIO_ENDINGS:
                continue
            segment = next(filter(None, map(table.find, _ids_in_name(path.stem))), None)
            part = part_of(str(path.parent)) or (segment and segment.part)
            if segment is None or part is None:
                yield Reject(path.stem, "not in the segment lists")
            elif member.data is None:
                yield Reject(segment.video_id, member.problem)
            else:
                clip = self._clip(part, segment.video_id, segment.mids, member.data, segment.seconds)
                if clip:
                    yield clip

    def part(self, url: str) -> str | None:
        return part_of(PurePosixPath(url).name)

    def training_ids(self) -> Iterator[str]:
        """The ids that are listed: a tar tells its own only when it is read to its end."""
        for url in self._lists:
            yield from (segment.video_id for segment in read_segments(url) if segment.part != EVAL)


def _ids_in_name(stem: str) -> Iterator[str]:
    """Yield what may be the video's id in the name of a file: the name, `Y<id>`, `<id>_<start>`, or both."""
    yield stem
    if found := re.fullmatch(r"Y?([A-Za-z0-9_-]{11})(_[\d.]+)?", stem):
        yield found[1]
    if found := re.fullmatch(r"([A-Za-z0-9_-]{11})_[\d.]+", stem):  # an id may begin with Y itself
        yield found[1]


def _open_parquet(url: str) -> Any:
    """Open a file. Raises UserError where its columns are not the layout's, OSError where it cannot be read."""
    parquet = open_parquet(url)
    schema = parquet.schema_arrow
    for name, like in COLUMNS.items():
        found = str(schema.field(name).type) if name in schema.names else "missing"
        if parquet.metadata.num_rows and not re.search(like, found):  # columns without a row may have no type
            parquet.close()
            raise UserError(f"{url}: column {name} is {found}; this is not AudioSet's parquet layout")
    return parquet
