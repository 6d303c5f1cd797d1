"""A table of clips: which clips, in which of their versions and with which labels, a system is trained or tested on.

What the clips are made of is read once and shared by all tables; choosing clips, labels or versions copies two numbers
a clip. Axes: C clips of a table, B batch, R rows of what they are made of, L labels.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, SupportsIndex, overload, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from audio_tokens.engine.clips.batch import Batch, ahead
from audio_tokens.engine.clips.labels import Labels

READING_AHEAD = 2  # batches that are made before they are asked for
WINDOW_CLIPS = 4096  # that are announced together, so that neighbours among them are read together


@runtime_checkable
class Rows(Protocol):
    """What clips are made of: as many rows as `keys` are the clips themselves, then come as many of every view."""

    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def lengths_R(self) -> Int64[np.ndarray, "R"]: ...
    @property
    def labels(self) -> Labels: ...

    def batch(self, rows_B: Int64[np.ndarray, "B"]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the `input` of a batch of rows, padded to the longest of them, and what lies `beside` it."""


@runtime_checkable
class Stored(Protocol):
    """Rows that are read from a disk when a batch is made."""

    def announce(self, rows_B: Int64[np.ndarray, "B"]) -> None:
        """Say which rows will be read before long."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clip c is row `at_C[c]` of `rows`, with its labels in `row_labels`; `views` further versions may be drawn.

    Batches of stored rows are made in pinned memory where a CUDA device will take them from there.
    """

    rows: Rows
    at_C: Int64[np.ndarray, "C"]
    row_labels: Labels
    views: int
    pinned: bool = False

    @classmethod
    def of(cls, rows: Rows) -> "Clips":
        """Return all clips of `rows`, in their order."""
        clips = len(rows.keys)
        views = len(rows.lengths_R) // max(1, clips) - 1
        return cls(rows=rows, at_C=np.arange(clips), row_labels=rows.labels, views=max(0, views))

    def __len__(self) -> int:
        return len(self.at_C)

    @property
    def keys(self) -> Sequence[str]:
        """The clips' keys, looked up one by one when asked for."""
        return Chosen(self.rows.keys, self.at_C % max(1, len(self.rows.keys)))

    @cached_property
    def lengths_C(self) -> Int64[np.ndarray, "C"]:
        """Positions or frames of every clip."""
        return self.rows.lengths_R[self.at_C]

    @cached_property
    def labels(self) -> Labels:
        """The clips' labels."""
        return self.row_labels.select(self.at_C)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "Clips":
        """Return some clips only, in the order given."""
        return replace(self, at_C=self.at_C[clips_B])

    def narrowed(self, chosen: Sequence[int]) -> "Clips":
        """Return the same clips with the `chosen` labels only: see Labels.only."""
        return replace(self, row_labels=self.row_labels.only(chosen))

    def drawn(self, rng: np.random.Generator) -> "Clips":
        """Return the clips as one epoch of training meets them: each in one of its versions, any as likely."""
        if not self.views:
            return self
        draw_C = rng.integers(1 + self.views, size=len(self))
        return replace(self, at_C=self.at_C + draw_C * len(self.rows.keys), views=0)

    def versions(self) -> "list[Clips]":
        """Return the clips as they are, and after them each view of all of them."""
        step = len(self.rows.keys)
        return [replace(self, at_C=self.at_C + version * step, views=0) for version in range(1 + self.views)]

    def every_version(self) -> "Clips":
        """Return all versions of the clips as clips of their own: those as they are, and then view by view."""
        return replace(self, at_C=np.concatenate([version.at_C for version in self.versions()]), views=0)

    def batches(self, parts: Iterable[Int64[np.ndarray, "..."]]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers; those of stored rows are announced and made ahead."""
        if not isinstance(self.rows, Stored):
            return map(self.batch, parts)
        made = map(self.batch, self._announced(parts, self.rows))
        return ahead(map(Batch.pinned, made) if self.pinned else made, READING_AHEAD)

    def _announced(self, parts: Iterable[Int64[np.ndarray, "..."]], rows: Stored) -> Iterator[Int64[np.ndarray, "..."]]:
        """Yield the parts, those of a window when the next window is announced: a pool of a windowed order."""
        due: list[np.ndarray] = []
        window: list[np.ndarray] = []
        for part in parts:
            window.append(part)
            if sum(map(len, window)) >= WINDOW_CLIPS:
                rows.announce(self.at_C[np.concatenate(window)])
                yield from due
                due, window = window, []
        if window:
            rows.announce(self.at_C[np.concatenate(window)])
        yield from due
        yield from window

    def batch(self, clips_B: Int64[np.ndarray, "B"]) -> Batch:
        """Return the clips `clips_B` padded to the longest of them; lengths are on the CPU, all else with the rows."""
        rows_B = self.at_C[clips_B]
        given, beside = self.rows.batch(rows_B)
        targets_BL = torch.from_numpy(self.row_labels.targets(rows_B)).to(given.device)
        return Batch(given, torch.from_numpy(self.rows.lengths_R[rows_B]), targets_BL, beside)


class Chosen(Sequence[str]):
    """Some of `strings`, none of which is looked up before it is asked for."""

    def __init__(self, strings: Sequence[str], numbers_C: Int64[np.ndarray, "C"]) -> None:
        self._strings, self._numbers_C = strings, numbers_C

    def __len__(self) -> int:
        return len(self._numbers_C)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "Chosen": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "str | Chosen":
        if isinstance(index, slice):
            return Chosen(self._strings, self._numbers_C[index])
        return self._strings[int(self._numbers_C[index.__index__()])]

    def __iter__(self) -> Iterator[str]:
        return map(self._strings.__getitem__, self._numbers_C.tolist())
