"""AudioSet's segment lists: which ten seconds of which video, with which labels. N clips listed.

`# ` comment lines (three in the published files), then `YTID, start_seconds, end_seconds, "mid,mid,..."`.
"""

import csv
import math
from array import array
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.audioset.places import part_of
from audio_tokens.shards.sources.files import text_lines


class Segment(NamedTuple):
    """A line of a list; `part` is the published part whose list it is."""

    video_id: str
    mids: tuple[str, ...]
    seconds: float
    part: str | None


def read_segments(url: str) -> Iterator[Segment]:
    """Yield the lines of one list. Raises UserError, naming the line, for one that is no segment."""
    part = part_of(url.rsplit("/", 1)[-1])
    lines = (line for line in text_lines(url) if line.strip() and not line.startswith("#"))
    try:
        for row in csv.reader(lines, skipinitialspace=True):
            yield _segment(url, row, part)
    except csv.Error as error:
        raise UserError(f"{url} is no CSV file: {error}") from None


def _segment(url: str, row: list[str], part: str | None) -> Segment:
    try:
        video_id, start_s, end_s, mids = row
        seconds = float(end_s) - float(start_s)
        if not math.isfinite(seconds):
            raise ValueError(seconds)
    except ValueError:
        raise UserError(f"{url}: {','.join(row)!r} is not YTID, start, end, labels") from None
    return Segment(video_id, tuple(filter(None, map(str.strip, mids.split(",")))), seconds, part)


class SegmentTable:
    """All lists together, searchable by id: 40 bytes a clip, where a dict of two million takes half a gigabyte."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        ids, starts, labels = [], array("q", [0]), array("H")
        seconds, parts = array("f"), array("b")
        numbers: dict[str, int] = {}
        self._parts: list[str | None] = []
        for url in urls:
            self._parts.append(part_of(url.rsplit("/", 1)[-1]))
            for segment in read_segments(url):
                ids.append(segment.video_id.encode())
                labels.extend(numbers.setdefault(mid, len(numbers)) for mid in segment.mids)
                starts.append(len(labels))
                seconds.append(segment.seconds)
                parts.append(len(self._parts) - 1)
        ids_N = np.array(ids, dtype="S") if ids else np.empty(0, "S1")
        self._order_N = np.argsort(ids_N, kind="stable")
        self._ids_N = ids_N[self._order_N]
        self._mids = list(numbers)
        self._starts, self._labels, self._seconds, self._list = starts, labels, seconds, parts

    def __len__(self) -> int:
        return len(self._ids_N)

    def find(self, video_id: str) -> Segment | None:
        """Return the first line listed for a video, or None."""
        wanted = video_id.encode()
        at = int(np.searchsorted(self._ids_N, wanted))
        if at == len(self) or self._ids_N[at] != wanted:
            return None
        number = int(self._order_N[at])
        mids = tuple(self._mids[label] for label in self._labels[self._starts[number] : self._starts[number + 1]])
        return Segment(video_id, mids, self._seconds[number], self._parts[self._list[number]])


@lru_cache(maxsize=1)  # a worker does many tasks of one source
def segment_table(urls: tuple[str, ...]) -> SegmentTable:
    return SegmentTable(urls)
