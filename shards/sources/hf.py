"""`hf:NAME` or `hf:DIR`: a Hugging Face data set with a column `audio`, from the hub or a folder; the datasets package
is not needed.

Parquet: `audio` holds the bytes of files, `label` (or `labels`, `category`, ...) numbers or names; the split is that of
a file's name or folder (`data/train-00000-of-00002.parquet`), else it is drawn. A folder may also be an `audiofolder`:
`metadata.csv` or `metadata.jsonl` with `file_name`, or one in each folder of a split, or subfolders named after
classes.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from audio_tokens.errors import UserError, json_of
from audio_tokens.seeds import HASHES, hashed
from audio_tokens.shards.sources import csv_list, folder, manifest
from audio_tokens.shards.sources.clip import Clip, Reject, id_key
from audio_tokens.shards.sources.files import FileOfSource, find_files
from audio_tokens.shards.sources.label_list import same_text
from audio_tokens.shards.sources.listed import SHARES
from audio_tokens.shards.sources.parquet import batches, open_parquet
from audio_tokens.shards.sources.registry import Source, Task, split_word
from audio_tokens.shards.sources.table import COLUMNS, Line, clips_of

METADATA = ("metadata.csv", "metadata.jsonl")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./%-]+)?")
# Where the hub keeps the parquet form of a data set that was uploaded in another one.
CONVERTED = "@refs%2Fconvert%2Fparquet"
BATCH_ROWS = 8


class ParquetOfHub:
    """One task a file. `labels` are the ClassLabel names of its features, or the names that occur, sorted."""

    def __init__(
        self,
        files: list[FileOfSource],
        splits: list[str | None],
        column: str,
        labels: tuple[str, ...],
        notes: list[str],
    ) -> None:
        self._files, self._splits, self._column, self._labels, self.notes = files, splits, column, labels, notes

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    def tasks(self) -> list[Task]:
        tasks = []
        for number, (file, split) in enumerate(zip(self._files, self._splits, strict=True)):
            try:
                with _open(file.url) as parquet:
                    rows = parquet.metadata.num_rows
            except OSError:  # the task will fail, and be reported, when it is run
                rows = None
            shares = {} if {"val", "test"} & set(self._splits) else SHARES
            work = [file.url, f"{split or 'rows'}-{number:05d}", split, shares]
            tasks.append(Task(name=file.name, work=work, clips=rows, bytes=file.bytes))
        return tasks

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        url, name, split, shares = task.work
        row = -1
        with _open(url) as parquet:
            for batch in batches(parquet, url, batch_size=BATCH_ROWS, columns=["audio", self._column]):
                for audio, value in zip(batch["audio"].to_pylist(), batch[self._column].to_pylist(), strict=True):
                    row += 1
                    source_id = f"{name}/{row}"
                    sound = (audio or {}).get("bytes")
                    if sound is None:
                        path = (audio or {}).get("path")
                        said = f"only its path {path!r}" if path else "nothing in its place"
                        yield Reject(source_id, f"the table holds no sound, {said}")
                        continue
                    yield Clip(
                        key=id_key(source_id),
                        labels=self._names(value),
                        place=_drawn(source_id, shares) if shares else split or "train",
                        group=source_id,
                        source_id=source_id,
                        open=partial(bytes, sound),
                    )

    def _names(self, value: Any) -> tuple[str, ...]:
        """Return the labels of a row: numbers stand for names; an unknown one is found out when it is stored."""
        values = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(
            self._labels[v] if isinstance(v, int) and 0 <= v < len(self._labels) else same_text(str(v)) for v in values
        )

    def __getstate__(self) -> dict[str, Any]:
        """What goes to the workers: the tasks name their files themselves."""
        return self.__dict__ | {"_files": [], "_splits": []}


def source(where: str) -> Source:
    """Open a data set of the hub, or a folder. Raises UserError where there is none with a column `audio`."""
    root = Path(where)
    if not root.is_dir():
        if not HUB_NAME.fullmatch(where):
            raise UserError(f"hf: {where!r} is neither a folder nor a data set's name, like ashraq/esc50")
        return _of_parquet(where, _on_the_hub(where))
    for file in (root / name for name in METADATA):
        if file.is_file():
            return (csv_list if file.suffix == ".csv" else manifest).source(str(file))
    if of_splits := sorted(
        file for name in METADATA for file in root.glob(f"*/{name}") if split_word(file.parent.name)
    ):
        return _of_metadata(root, where, of_splits)
    try:
        files = find_files(where, ".parquet")
    except UserError:  # no parquet: then subfolders are classes, or folder.py tells what is missing
        return folder.source(where)
    return _of_parquet(where, files)


def _of_metadata(root: Path, where: str, files: list[Path]) -> Source:
    """Open the lists that stand in folders of splits, with `file_name` relative to each."""
    columns, lines = ["split"], []
    for file in files:
        read = csv_list.read_table if file.suffix == ".csv" else manifest.read_lines
        found, of_file = read(file)
        columns += [name for name in found if name not in columns]
        for place, values in of_file:
            path = f"{file.parent.name}/{values.get('file_name') or ''}"
            lines.append(Line(f"{file} {place}", {**values, "file_name": path, "split": file.parent.name}))
    return clips_of(root.resolve(), where, lines, columns)


def _on_the_hub(name: str) -> list[FileOfSource]:
    try:
        return find_files(f"hf://datasets/{name}", ".parquet")
    except UserError as error:
        if "@" in name or "there is no *.parquet" not in str(error):
            raise
        return find_files(f"hf://datasets/{name}{CONVERTED}", ".parquet")


def _of_parquet(where: str, files: list[FileOfSource]) -> ParquetOfHub:
    schema = _first_schema(where, files)
    column = next((name for name in COLUMNS["labels"] if name in schema.names), None)
    if column is None:
        raise UserError(f"hf: {where} has no column {' or '.join(COLUMNS['labels'])}; it has {', '.join(schema.names)}")
    unused = [name for name in schema.names if name not in ("audio", column)]
    notes = [f"columns not used: {', '.join(unused)}"] if unused else []
    splits = [_split(where, file.url) for file in files]
    if not {"val", "test"} & set(splits):
        notes.append("the files name no test or validation split: one was drawn by a hash of each row")
    names = _class_names(schema.metadata or {}, column)
    return ParquetOfHub(files, splits, column, names or _names_that_occur(files, column), notes)


def _open(url: str) -> Any:
    """Open a file. Raises UserError where it has no column `audio` of bytes, OSError where it cannot be read."""
    parquet = open_parquet(url)
    schema = parquet.schema_arrow
    found = str(schema.field("audio").type) if "audio" in schema.names else "missing"
    if "bytes: " not in found or "binary" not in found:
        parquet.close()
        raise UserError(f"{url}: column audio is {found}; it must hold the bytes of files; there are {schema.names}")
    return parquet


def _first_schema(where: str, files: list[FileOfSource]) -> Any:
    """Return the schema of the first file that can be read; a torn one is its task's to tell."""
    reason: OSError | None = None
    for file in files:
        try:
            with _open(file.url) as parquet:
                return parquet.schema_arrow
        except OSError as error:
            reason = error
    raise UserError(f"hf: {where}: none of its {len(files)} parquet files can be read: {reason}")


def _class_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...]:
    """Return the names of a ClassLabel, or of a list of them, as the datasets package stores them in the schema."""
    try:
        feature = json_of(metadata[b"huggingface"])["info"]["features"][column]
        feature = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
        return tuple(same_text(name) for name in feature["names"])
    except (KeyError, TypeError, ValueError, IndexError):
        return ()


def _names_that_occur(files: list[FileOfSource], column: str) -> tuple[str, ...]:
    found: set[str] = set()
    for file in files:
        with suppress(OSError), _open(file.url) as parquet:
            for batch in batches(parquet, file.url, columns=[column]):
                for value in batch.column(0).to_pylist():
                    found |= {same_text(str(name)) for name in (value if isinstance(value, list) else [value])}
    return tuple(sorted(found - {"None"}))


def _split(where: str, url: str) -> str | None:
    """Return the split that a file's name says, or else its folder within the data set: `train-00000-of-00001`."""
    path = PurePosixPath(url.split(where, 1)[-1])
    for part in (path.name, path.parent.name):
        said = next((split for word in re.split(r"[^a-z]+", part.lower()) if (split := split_word(word))), None)
        if said:
            return said
    return None


def _drawn(source_id: str, shares: dict[str, float]) -> str:
    at, bound = hashed(0, "split", source_id), 0.0
    for place, share in shares.items():
        bound += share * HASHES
        if at < bound:
            return place
    return "train"
