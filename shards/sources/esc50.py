"""`esc50:DIR`: ESC-50 and its subsets in the published layout, `meta/esc50.csv` and `audio/`, with the published folds.

K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
"""

import csv
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.listed import ListedClips, Row

COLUMNS = ("filename", "fold", "target", "category", "src_file")


def source(where: str) -> ListedClips:
    """Open the layout in folder `where`. Raises UserError where it is not that layout.

    The audio may be of any format: the list's `x.wav` stands for `x.flac` or `x.ogg` where only that is there.
    """
    folder = Path(where)
    list_file, audio = folder / "meta" / "esc50.csv", folder / "audio"
    if not folder.is_dir():
        raise UserError(f"there is no folder {where!r}; esc50:DIR names one with audio/ and meta/esc50.csv")
    if not list_file.is_file() or not audio.is_dir():
        raise UserError(f"{where!r} is not the published layout: it needs audio/ and meta/esc50.csv")
    try:
        with list_file.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{list_file} is no CSV file in UTF-8: {error}") from None
    if missing:
        raise UserError(f"{list_file} lacks the column {', '.join(sorted(missing))}")
    if not lines:
        raise UserError(f"{list_file} lists no clip")
    exact = {path.name for path in audio.iterdir()}
    present = {Path(name).stem: name for name in sorted(exact)}
    rows, by_target = [], {}
    for line_number, line in enumerate(lines, 2):
        name = line["filename"]
        file_name = name if name in exact else present.get(Path(name).stem, name)
        try:
            if (fold := int(line["fold"])) < 0:
                raise ValueError(fold)
            rows.append(Row(file_name, (line["category"],), f"fold-{fold}", line["src_file"]))
            by_target[int(line["target"])] = line["category"]
        except (TypeError, ValueError):
            raise UserError(f"{list_file} line {line_number}: fold and target are not both numbers") from None
    labels = tuple(by_target[target] for target in sorted(by_target))
    return ListedClips(audio.resolve(), labels, rows, where=str(list_file))
