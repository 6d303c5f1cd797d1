"""Lists of labels, and text that looks alike made equal."""

import csv
import unicodedata
from collections.abc import Iterator

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.files import text_lines

NAME_COLUMNS = ("display_name", "label", "name", "class", "category", "labels")
NUMBER_COLUMNS = ("index", "label_id", "target", "id", "number")


def same_text(text: str) -> str:
    """Return text in Unicode's composed form (NFC): a Mac writes é as two characters, and the two look alike."""
    return unicodedata.normalize("NFC", text)


def spellings(path: str) -> Iterator[str]:
    """Yield what a listed path may be called on this disk: as it stands, composed or not, with slashes of its own.

    A Mac writes names decomposed (NFD), lists mostly hold them composed; Windows parts folders by backslashes.
    """
    for parted in (path, path.replace("\\", "/")):
        for form in ("NFC", "NFD"):
            yield from (parted, unicodedata.normalize(form, parted))  # type: ignore[arg-type]


def read_labels(url: str) -> tuple[str, ...]:
    """Return the labels of a file, in the order of their numbers: one a line, or the rows of a CSV table with a header.

    Raises UserError for a file that has none, or one twice, or is a table without names; OSError where there is none.
    """
    try:
        labels = _read(url)
    except csv.Error as error:
        raise UserError(f"{url} is no list of labels: {error}") from None
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"{url} needs a label a line, each once; it has {len(labels)} lines")
    return tuple(labels)


def _read(url: str) -> list[str]:
    lines = [line.strip() for line in text_lines(url) if line.strip()]
    header = [name.strip().lower() for name in next(csv.reader(lines[:1]), [])]
    # A label may hold a comma: only a first line with two such names is a header.
    is_table = url.lower().endswith(".csv") or len({*NAME_COLUMNS, *NUMBER_COLUMNS}.intersection(header)) > 1
    return [same_text(label) for label in (_of_table(url, lines, header) if is_table else lines)]


def _of_table(url: str, lines: list[str], header: list[str]) -> list[str]:
    names = [name for name in NAME_COLUMNS if name in header]
    if not names:
        raise UserError(f"{url} is a CSV table without a column {' or '.join(NAME_COLUMNS[:3])}; it has {lines[:1]}")
    rows = [dict(zip(header, map(str.strip, row), strict=False)) for row in csv.reader(lines[1:])]
    numbers = next((name for name in NUMBER_COLUMNS if name in header), None)
    if numbers is not None:
        try:
            rows.sort(key=lambda row: int(row[numbers]))
            if [int(row[numbers]) for row in rows] != list(range(len(rows))):
                raise ValueError
        except (KeyError, ValueError):
            raise UserError(f"{url}: column {numbers} does not number the labels from 0, each once") from None
    return [row.get(names[0], "") for row in rows]
