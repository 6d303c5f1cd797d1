"""Strings as they lie in a store: UTF-8 bytes one after the other, and where each ends."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Int64, UInt8


class Strings(Sequence[str]):
    """`count` strings, whose bytes are read when the first is asked for, and decoded one by one.

    `read` returns the bytes of all of them and their offsets: string s is data[offsets[s] : offsets[s + 1]].
    Two million keys take 40 MB, not 200.
    """

    def __init__(self, count: int, read: Callable[[], tuple[UInt8[np.ndarray, "N"], Int64[np.ndarray, "S1"]]]) -> None:
        self._count, self._read = count, read

    @cached_property
    def _arrays(self) -> tuple[UInt8[np.ndarray, "N"], Int64[np.ndarray, "S1"]]:
        return self._read()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        data, offsets = self._arrays
        return data[offsets[number] : offsets[number + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        data, offsets = self._arrays
        held = data.tobytes()
        return (held[start:stop].decode() for start, stop in pairwise(offsets.tolist()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def see_text(data: UInt8[np.ndarray, "N"], offsets: Int64[np.ndarray, "S1"]) -> None:
    """See that bytes are text and that offsets, known to rise from 0 to their end, cut it into texts; else ValueError.

    Strings are cut out of it later, one by one.
    """
    data.tobytes().decode()
    starts = offsets[:-1][offsets[:-1] < len(data)]
    if (data[starts] & 0xC0 == 0x80).any():
        raise ValueError("offsets cut a letter in two")
