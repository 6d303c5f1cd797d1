"""`csv:FILE`: your own clips. Columns `path`, `labels` (separated by `;`), `split` or `fold`, perhaps `group`."""

import csv
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.listed import ListedClips, Row, normal_path

SPLITS = ("train", "val", "test")
FOLD_DIGITS = 9  # it becomes part of a file's name


def source(where: str) -> ListedClips:
    """Open the list `where`; paths in it are relative to its folder.

    Raises UserError where the list is missing or says what no list can say; a missing clip is a reject, later.
    """
    list_file = Path(where)
    if not list_file.is_file():
        raise UserError(f"there is no list {where!r}; csv:FILE names a CSV file with the columns path, labels, split")
    try:
        with list_file.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            place_column = _place_column(where, columns)
            reader.fieldnames = columns
            rows = [_row(where, reader.line_num, line, place_column) for line in reader]
    except UnicodeDecodeError:
        raise UserError(f"{where} is not UTF-8 text; save the list as CSV in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{where} is not a CSV file: {error}") from None
    if not rows:
        raise UserError(f"{where} lists no clip")
    return ListedClips(list_file.parent.resolve(), tuple(sorted({label for row in rows for label in row.labels})), rows)


def _place_column(where: str, columns: list[str]) -> str:
    missing = {"path", "labels"} - set(columns)
    if missing:
        raise UserError(f"{where} lacks the column {', '.join(sorted(missing))}; it has {', '.join(columns) or 'none'}")
    found = [name for name in ("split", "fold") if name in columns]
    if len(found) != 1:
        raise UserError(f"{where} needs a column split or fold, one of them; it has {', '.join(columns)}")
    return found[0]


def _row(where: str, line_number: int, line: dict[Any, Any], place_column: str) -> Row:
    path = normal_path((line["path"] or "").strip())
    labels = (label.strip() for label in (line["labels"] or "").split(";"))
    value = (line[place_column] or "").strip()
    if place_column == "fold":
        if not value.isdecimal() or len(value) > FOLD_DIGITS:
            raise UserError(f"{where} line {line_number}: fold {value[:20]!r} is not a number")
        place = f"fold-{int(value)}"
    else:
        if value not in SPLITS:
            raise UserError(f"{where} line {line_number}: split {value!r} is none of {', '.join(SPLITS)}")
        place = value
    group = (line.get("group") or "").strip() or path
    return Row(path, tuple(dict.fromkeys(label for label in labels if label)), place, group)
