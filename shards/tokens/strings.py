"""Strings as they lie in a store: UTF-8 bytes one after the other, and where each ends."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import SupportsIndex, overload

import numpy as np
from jaxtyping import Int64, UInt8


class Strings(Sequence[str]):
    """String s is data[offsets[s] : offsets[s + 1]], decoded when it is asked for: two million take 40 MB, not 200."""

    def __init__(self, data: UInt8[np.ndarray, "N"], offsets: Int64[np.ndarray, "S1"]) -> None:
        self._data, self._offsets = data, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        return self._data[self._offsets[number] : self._offsets[number + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        data = self._data.tobytes()
        return (data[start:stop].decode() for start, stop in pairwise(self._offsets.tolist()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
