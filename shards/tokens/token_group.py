"""The arrays of a token store, those of several splits or folds as if they were one, each read when it is asked for.

C clips, P positions of all clips, Q token streams, M alternatives, N values of all clips. The format stands in
token_store.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8, UInt16

from audio_tokens.errors import UserError
from audio_tokens.shards.tokens.strings import Strings

if TYPE_CHECKING:
    import zarr


class TokenGroup:
    """Splits, folds or views of the store at `path`, one after the other; reading raises UserError where it is damaged.

    An array that was read is kept, so two million clips of 215 positions take 0.9 GB a stream once `ids_PQ` was asked.
    """

    def __init__(self, path: Path, nodes: "Sequence[zarr.Group]") -> None:
        self._path, self._nodes = path, nodes

    def __len__(self) -> int:
        """The number of clips."""
        return sum(self._array(node, "offsets").shape[0] - 1 for node in self._nodes)

    @cached_property
    def ids_PQ(self) -> UInt16[np.ndarray, "P Q"]:
        """The token of every position and stream."""
        return self._values("ids")

    @cached_property
    def offsets(self) -> Int64[np.ndarray, "C1"]:
        """Clip c has positions offsets[c] to offsets[c + 1]."""
        return self._offsets("offsets")

    @cached_property
    def label_ids(self) -> Int32[np.ndarray, "N"]:
        """The labels of all clips."""
        return self._values("label_ids")

    @cached_property
    def label_offsets(self) -> Int64[np.ndarray, "C1"]:
        """Clip c has labels label_offsets[c] to label_offsets[c + 1]."""
        return self._offsets("label_offsets")

    @cached_property
    def label_shares(self) -> Float32[np.ndarray, "N"] | None:
        """How much of each label is in its clip; None where no clips were mixed."""
        if not any("label_shares" in node for node in self._nodes):
            return None
        parts = [
            self._read(node, "label_shares")
            if "label_shares" in node
            else np.ones(self._array(node, "label_ids").shape, np.float32)
            for node in self._nodes
        ]
        return np.concatenate(parts)

    @cached_property
    def keys(self) -> Strings:
        """The key of every clip."""
        return Strings(len(self), lambda: (self._values("key_bytes"), self._offsets("key_offsets")))

    @cached_property
    def groups(self) -> Strings:
        """The recording that each clip was cut from."""
        return Strings(len(self), lambda: (self._values("group_bytes"), self._offsets("group_offsets")))

    @property
    def streams(self) -> int:
        """How many tokens a position has."""
        return self._array(self._nodes[0], "ids").shape[1]

    @property
    def alternatives(self) -> int:
        """How many nearest tokens of every position lie beside it; 0 where none were stored."""
        return self._array(self._nodes[0], "top_ids").shape[2] if "top_ids" in self._nodes[0] else 0

    @cached_property
    def top_ids_PQM(self) -> UInt16[np.ndarray, "P Q M"] | None:
        """The nearest tokens of every position, nearest first."""
        return self._values("top_ids") if self.alternatives else None

    @cached_property
    def top_cosines_PQM(self) -> UInt8[np.ndarray, "P Q M"] | None:
        """How near they are: 0 is a cosine of -1, 255 of 1."""
        return self._values("top_cosines") if self.alternatives else None

    def load(self) -> "TokenGroup":
        """Read all there is, and return the group itself."""
        for name, attribute in vars(type(self)).items():
            if isinstance(attribute, cached_property) and isinstance(getattr(self, name), Strings):
                list(getattr(self, name))
        return self

    def blocks(self, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the same rows of some arrays of equal length, as many at a time as one file of the first holds.

        For what is made of values too large to be held beside it; nothing is kept.
        """
        for node in self._nodes:
            with self._reading():
                arrays = [self._array(node, name) for name in names]
                rows = (arrays[0].shards or arrays[0].chunks)[0]
                for start in range(0, arrays[0].shape[0], rows):
                    yield tuple(np.asarray(array[start : start + rows]) for array in arrays)

    def _values(self, name: str) -> np.ndarray:
        """Return an array of all nodes together, written once."""
        arrays = [self._array(node, name) for node in self._nodes]
        values = np.empty((sum(array.shape[0] for array in arrays), *arrays[0].shape[1:]), arrays[0].dtype)
        filled = 0
        for (block,) in self.blocks(name):
            values[filled : filled + len(block)] = block
            filled += len(block)
        return values

    def _offsets(self, name: str) -> np.ndarray:
        """Return the offsets into the arrays of all nodes together."""
        lengths = [np.diff(self._read(node, name)) for node in self._nodes]
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))])

    def _read(self, node: "zarr.Group", name: str) -> np.ndarray:
        with self._reading():
            return np.asarray(self._array(node, name)[:])

    def _array(self, node: "zarr.Group", name: str) -> "zarr.Array":
        """Return an array. A file of it that is gone would read as 0, which is a token: that is refused."""
        import zarr

        with self._reading():
            array = node[name]
            assert isinstance(array, zarr.Array)
            if array.nchunks_initialized < array.nchunks:
                raise ValueError(f"{node.path}/{name} lacks files")
            return array

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, ValueError, RuntimeError, FileNotFoundError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self._path} is damaged ({error}); encode again with --force") from None
