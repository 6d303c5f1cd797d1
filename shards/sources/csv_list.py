"""`csv:FILE`: your own clips, a line each, with a header.

Columns `path`, `labels` (separated by `;`), `split` or `fold`, perhaps `group`, perhaps `offset` and `duration` in
seconds, where a clip is a part of a recording; table.py has the names that are understood as well. Without split and
fold, a split is drawn.
"""

import csv
import io
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.listed import ListedClips
from audio_tokens.shards.sources.table import COLUMNS, Line, clips_of

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
DELIMITERS = ",;\t|"


def source(where: str) -> ListedClips:
    """Open the list `where`; paths in it are relative to its folder.

    Raises UserError where the list is missing or says what no list can say; a missing clip is a reject, later.
    """
    list_file = Path(where)
    if not list_file.is_file():
        raise UserError(f"there is no list {where!r}; csv:FILE names a CSV file with the columns path, labels, split")
    try:
        columns, lines = read_table(list_file)
    except UnicodeDecodeError:
        raise UserError(f"{where} is not UTF-8 text; save the list as CSV in UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{where} is not a CSV file: {error}") from None
    return clips_of(list_file.parent.resolve(), where, lines, columns)


def read_table(file: Path) -> tuple[list[str], list[Line]]:
    """Return the columns and the lines of a CSV file that hold anything, in UTF-8 or what Excel calls Unicode text.

    Raises UnicodeDecodeError and csv.Error where it is none.
    """
    data = file.read_bytes()
    text = data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    known = {name for names in COLUMNS.values() for name in names}
    header = text.split("\n", 1)[0].lower()
    # That which parts the header into the most names that mean something; a comma where none does.
    delimiter = max(DELIMITERS, key=lambda mark: len(known & {name.strip().strip('"') for name in header.split(mark)}))
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    lines = []
    for values in reader:
        if any(isinstance(value, str) and value.strip() for value in values.values()):
            beyond = [value for value in values.pop(None, []) if value.strip()]  # type: ignore[call-overload]
            if beyond:
                raise UserError(
                    f"{file} line {reader.line_num} has more values than there are columns, {beyond[0][:40]!r} for "
                    "one; a value that holds the delimiter stands in quotes"
                )
            lines.append(Line(f"line {reader.line_num}", values))
    return columns, lines
