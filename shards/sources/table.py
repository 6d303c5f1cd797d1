"""Lists of clips as people write them: which column is which, under any of its usual names.

A row is a mapping from column to value; `rows_of` turns rows into clips of a list.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.label_list import same_text
from audio_tokens.shards.sources.listed import UNDECIDED, ListedClips, Row, normal_path
from audio_tokens.shards.sources.registry import SPLITS, split_word

FOLD_DIGITS = 9  # it becomes part of a file's name
SLICE = "slice_file_name"  # UrbanSound8K's: cut out already, its times are those of the recording it was cut from
# What a column is called, by what it holds; the first that is there counts. Upper and lower case are one.
COLUMNS = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "audio_filepath", "audio_path", "audio", "wav"),
        *("file_path", "fname", "audio_file", "audio_filename", "wav_file", "wav_path", "sound", SLICE),
    ),
    "labels": (
        *("labels", "label", "class", "classes", "category", "class_name"),
        *("class_label", "event_label", "event_labels", "tags", "tag", "primary_label", "species", "command", "target"),
    ),
    "split": ("split", "subset", "partition"),
    "fold": ("fold",),
    "group": ("group",),
    "start_s": ("onset", "offset", "start", "start_s", "start_time"),
    "duration_s": ("duration", "duration_s"),
    "end_s": ("offset", "end", "end_s", "end_time"),
}
PART = ("start_s", "duration_s", "end_s")
FOLD = re.compile(r"(?:fold[\s_-]*)?(\d+)(?:\.0+)?", re.IGNORECASE)


class Line(NamedTuple):
    """A row of a list, and where it stands: "line 7"."""

    place: str
    values: Mapping[str, Any]


def clips_of(folder: Path, where: str, lines: Iterable[Line], columns: Iterable[str]) -> ListedClips:
    """Return the source over a list's lines, with what is not used of it among its notes.

    Raises UserError where columns are missing, or a line says what no list can say.
    """
    columns = [name for name in columns if name]
    found = _found(where, columns)
    rows = [_row(folder, where, line, found) for line in lines]
    if not rows:
        raise UserError(f"{where} lists no clip")
    labels = tuple(sorted({label for row in rows for label in row.labels}))
    unused = [name for name in columns if name not in found.values()]
    notes = [f"columns not used: {', '.join(unused)}"] if unused else []
    return ListedClips(folder, labels, rows, where=where, notes=notes)


def _found(where: str, columns: list[str]) -> dict[str, str]:
    """Return, by what it holds, which of the columns it is."""
    lowered = {name.strip().lower(): name for name in reversed(columns)}
    found = {}
    for what, names in COLUMNS.items():
        for name in names:
            if name in lowered:
                found[what] = lowered[name]
                break
    times = Counter(columns)
    for name in found.values():
        if times[name] > 1:
            raise UserError(f"{where} has {times[name]} columns {name}; which one counts? Rename the others")
    if found.get("path", "").strip().lower() == SLICE:
        found = {what: name for what, name in found.items() if what not in PART}
    if found.get("end_s") == found.get("start_s"):  # an offset alone is a start, beside an onset it is an end
        found.pop("end_s", None)
    missing = [what for what in ("path", "labels") if what not in found]
    if missing:
        raise UserError(f"{where} lacks the column {', '.join(sorted(missing))}; it has {', '.join(columns) or 'none'}")
    if "split" in found and "fold" in found:
        raise UserError(f"{where} needs a column split or fold, one of them; it has {', '.join(columns)}")
    return found


def _row(folder: Path, where: str, line: Line, found: dict[str, str]) -> Row:
    def value(what: str) -> Any:
        return line.values.get(found[what]) if what in found else None

    exact = str(value("path") or "")
    path = unquote(exact.strip().removeprefix("file://")) if "://" in exact else exact.strip()
    # a name may begin or end with a space, lists often do; os.path answers for one that is too long, too
    if path != exact and os.path.exists(folder / exact):  # noqa: PTH110
        path = exact
    path = normal_path(path)
    start_s, duration_s, end_s = (_seconds(where, line, found.get(what, ""), value(what)) for what in PART)
    if duration_s is None and end_s is not None:
        duration_s = round(end_s - (start_s or 0.0), 9)
    if duration_s is not None and duration_s <= 0:
        raise UserError(f"{where} {line.place}: it is {duration_s:g} s long; a clip has a duration above 0")
    return Row(
        path,
        _labels(value("labels")),
        _place(where, line, value("split"), value("fold"), found),
        same_text(str(value("group") or "").strip()) or path,
        start_s or 0.0,
        duration_s,
    )


def _labels(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else str("" if value is None else value).split(";")
    return tuple(dict.fromkeys(filter(None, (same_text(str(name).strip()) for name in names))))


def _place(where: str, line: Line, split: Any, fold: Any, found: dict[str, str]) -> str:
    if "fold" in found:
        text = str("" if fold is None else fold).strip()
        place = fold_word(text)
        if place is None:
            raise UserError(f"{where} {line.place}: fold {text[:20]!r} is not a number")
        return place
    if "split" in found:
        text = str(split or "").strip()
        place = split_word(text)
        if place is None:
            raise UserError(f"{where} {line.place}: split {text[:40]!r} is none of {', '.join(SPLITS)}")
        return place
    return UNDECIDED


def fold_word(word: str) -> str | None:
    """Return the fold that a word stands for (1, 1.0, fold1, fold_1), or None."""
    number = FOLD.fullmatch(word)
    return f"fold-{int(number[1])}" if number and len(number[1]) <= FOLD_DIGITS else None


def _seconds(where: str, line: Line, column: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
        if not 0 <= seconds < float("inf"):
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(f"{where} {line.place}: {column} {str(value)[:20]!r} is no number of seconds") from None
    return seconds
