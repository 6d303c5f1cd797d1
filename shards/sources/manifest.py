"""`manifest:FILE`: JSON lines as NeMo and Lhotse write them, a clip a line; plain, or compressed (.gz).

NeMo: `audio_filepath`, `offset` and `duration` in seconds, `label`. Lhotse: cuts (`lhotse.CutSet.to_file`), whose label
is the supervisions' `custom.label` or, without it, their `text`. Either may have `split`, `fold` and `group`.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.listed import ListedClips
from audio_tokens.shards.sources.table import COLUMNS, Line, clips_of

MOST_BYTES = 1 << 30  # of a list: millions of lines; a few KB of a .gz may stand for any number
LABEL_FIELDS = COLUMNS["labels"]
MADE_OF_SEVERAL = ("MixedCut", "PaddingCut")
WRITE_OUT = "lhotse's cuts.save_audios writes it out as sound"


def source(where: str) -> ListedClips:
    """Open the manifest `where`; paths in it are relative to its folder.

    Raises UserError where it is missing or a line of it cannot be understood; a missing clip is a reject, later.
    """
    file = Path(where)
    if not file.is_file():
        raise UserError(f"there is no manifest {where!r}; manifest:FILE names a file of JSON lines")
    columns, lines = read_lines(file)
    return clips_of(file.parent.resolve(), where, lines, columns)


def read_lines(file: Path) -> tuple[list[str], list[Line]]:
    """Return the columns and the lines of a manifest. Raises UserError where it lists nothing, or no JSON."""
    lines = [Line(place, _flat(str(file), place, values)) for place, values in _objects(file, str(file))]
    if not lines:
        raise UserError(f"{file} lists no clip")
    return list(dict.fromkeys(name for line in lines for name in line.values)), lines


def _objects(file: Path, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        data = file.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise UserError(f"{where} holds more than {MOST_BYTES:,} bytes; cut it into several lists")
        text = data.decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{where} is no text in UTF-8: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where} line {number} is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise UserError(f"{where} line {number} is {line.strip()[:40]!r}, not an object")
        yield f"line {number}", values


def _flat(where: str, place: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a line: Lhotse's cuts are taken apart, everything else stands as it is."""
    if values.get("type") in MADE_OF_SEVERAL:
        raise UserError(f"{where} {place} is a {values['type']}, not a cut of one recording; {WRITE_OUT}")
    if "sources" in values:
        raise UserError(f"{where} {place} is a recording; lhotse's CutSet.from_manifests makes cuts with labels of it")
    if "recording" not in values:
        return values
    try:
        _check_plain(where, place, values)
        (channel_source, *_) = values["recording"]["sources"]
        if channel_source["type"] != "file":
            raise UserError(f"{where} {place}: the recording is of type {channel_source['type']!r}, not a file")
        supervisions = values.get("supervisions") or []
        custom = values.get("custom") or {}
        labels = [label for supervision in supervisions for label in _labels(supervision)]
        flat = {
            "audio_filepath": channel_source["source"],
            "label": labels or _labels({"custom": custom}),
            "offset": values["start"],
            "duration": values["duration"],
        }
        if not values["start"] and abs(values["duration"] - values["recording"]["duration"]) < 1e-6:
            flat |= {"offset": None, "duration": None}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where} {place} is no cut of Lhotse's: {type(error).__name__} {error}") from None
    return flat | {name: custom[name] for name in ("split", "fold", "group") if name in custom}


def _check_plain(where: str, place: str, cut: dict[str, Any]) -> None:
    """Raise UserError where the sound of a cut is not what its recording's file holds."""
    recording = cut["recording"]
    if changes := recording.get("transforms"):
        names = ", ".join(str(change.get("name", change)) for change in changes)
        raise UserError(f"{where} {place}: the recording is to be changed ({names}); {WRITE_OUT}")
    channels = cut.get("channel", 0)
    unheard = set(recording.get("channel_ids") or ()) - set(channels if isinstance(channels, list) else [channels])
    if unheard:
        raise UserError(f"{where} {place}: it leaves out channel {min(unheard)} of the recording; {WRITE_OUT}")


def _labels(supervision: dict[str, Any]) -> list[str]:
    custom = supervision.get("custom") or {}
    value = next((custom[name] for name in LABEL_FIELDS if name in custom), supervision.get("text"))
    if isinstance(value, list):
        return [str(label) for label in value]
    return [] if value is None else str(value).split(";")
