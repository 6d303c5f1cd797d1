"""The arrays of a token store, those of several splits or folds as if they were one, each read when it is asked for.

C clips, P positions of all clips, Q token streams, M alternatives, N values of all clips. The format stands in
token_store.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8, UInt16

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.strings import Strings, see_text
from audio_tokens.shards.tokens.store_check import ARRAYS, check_ends, check_values, plain_file

if TYPE_CHECKING:
    import zarr

BLOCK_ROWS = 1 << 23  # of tokens that are read at a time: 17 MB a stream


class TokenGroup:
    """Splits, folds or views of the store at `path`, one after the other; reading raises UserError where it is damaged.

    An array that was read is kept; tokens are mapped, where they lie in one place, and take no memory of their own.
    """

    def __init__(
        self,
        path: Path,
        places: Sequence[str],
        arrays: "Sequence[Mapping[str, zarr.Array]]",
        vocab_sizes: tuple[int, ...],
        labels: int,
    ) -> None:
        """`arrays` are those of each place, their shapes checked; their values are checked as they are read."""
        self._path, self._parts = path, tuple(zip(places, arrays, strict=True))
        self._vocab_sizes, self._labels = vocab_sizes, labels

    def __len__(self) -> int:
        """The number of clips."""
        return sum(arrays["offsets"].shape[0] - 1 for _, arrays in self._parts)

    @cached_property
    def ids_PQ(self) -> UInt16[np.ndarray, "P Q"]:
        """The token of every position and stream; of one place a mapping, of several a copy."""
        return self._together("ids")

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
        if not any("label_shares" in arrays for _, arrays in self._parts):
            return None
        parts = [
            self._read(place, arrays, "label_shares")
            if "label_shares" in arrays
            else np.ones(arrays["label_ids"].shape, np.float32)
            for place, arrays in self._parts
        ]
        return np.concatenate(parts)

    @cached_property
    def keys(self) -> Strings:
        """The key of every clip."""
        return Strings(len(self), lambda: self._strings("key"))

    @cached_property
    def groups(self) -> Strings:
        """The recording that each clip was cut from."""
        return Strings(len(self), lambda: self._strings("group"))

    @property
    def streams(self) -> int:
        """How many tokens a position has."""
        return len(self._vocab_sizes)

    @property
    def alternatives(self) -> int:
        """How many nearest tokens of every position lie beside it; 0 where they were not stored for all places."""
        found = {arrays["top_ids"].shape[2] if "top_ids" in arrays else 0 for _, arrays in self._parts}
        return found.pop() if len(found) == 1 else 0

    @cached_property
    def top_ids_PQM(self) -> UInt16[np.ndarray, "P Q M"] | None:
        """The nearest tokens of every position, nearest first; mapped or copied as `ids_PQ`."""
        return self._together("top_ids") if self.alternatives else None

    @cached_property
    def top_cosines_PQM(self) -> UInt8[np.ndarray, "P Q M"] | None:
        """How near they are: 0 is a cosine of -1, 255 of 1; mapped or copied as `ids_PQ`."""
        return self._together("top_cosines") if self.alternatives else None

    def load(self) -> "TokenGroup":
        """Read all there is, and return the group itself."""
        for name, attribute in vars(type(self)).items():
            if isinstance(attribute, cached_property) and isinstance(getattr(self, name), Strings):
                list(getattr(self, name))
        return self

    def _together(self, name: str) -> np.ndarray:
        """Return an array with a row a position: of one place a mapping, of several a copy."""
        if name != "ids" and not all(_is_plain(arrays[name]) for _, arrays in self._parts):
            return self._values(name)
        parts = [self._mapped(place, arrays, name) for place, arrays in self._parts]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _mapped(self, place: str, arrays: "Mapping[str, zarr.Array]", name: str) -> np.ndarray:
        """Return an array of a place, whose values are checked by reading the file: the mapping stays untouched."""
        with reading(self._path, place):
            array = arrays[name]
            file = plain_file(self._path / array.path, array.ndim)
            if not _is_plain(array):
                raise ValueError(f"{name} are not one chunk of plain numbers")
            if not file.is_file():
                raise ValueError(f"{name} lacks files")
            if file.stat().st_size != array.dtype.itemsize * array.size:
                raise ValueError(f"{name} have {file.stat().st_size} bytes for {array.size} numbers")
            row_numbers = int(np.prod(array.shape[1:]))
            with file.open("rb") as numbers:
                while len(block := np.fromfile(numbers, array.dtype, BLOCK_ROWS * row_numbers)):
                    check_values(name, block.reshape(-1, *array.shape[1:]), self._vocab_sizes, self._labels)
            # copy on write: torch warns of arrays that it may not write to
            return np.asarray(np.memmap(file, array.dtype, mode="c", shape=array.shape))

    def _values(self, name: str) -> np.ndarray:
        """Return an array of all places together, written once."""
        arrays = [arrays[name] for _, arrays in self._parts]
        with reading(self._path, " and ".join(place for place, _ in self._parts)):
            values = np.empty((sum(array.shape[0] for array in arrays), *arrays[0].shape[1:]), arrays[0].dtype)
        filled = 0
        for place, found in self._parts:
            rows = (found[name].shards or (BLOCK_ROWS,))[0]  # as many as one file holds
            for start in range(0, found[name].shape[0], rows):
                block = self._read(place, found, name, slice(start, start + rows))
                values[filled : filled + len(block)] = block
                filled += len(block)
        return values

    def _offsets(self, name: str) -> np.ndarray:
        """Return the offsets into the arrays of all places together."""
        lengths = []
        for place, arrays in self._parts:
            offsets = self._read(place, arrays, name)
            with reading(self._path, place):
                for cut, (_, _, by) in ARRAYS.items():
                    if by == name and cut != name and cut in arrays:
                        check_ends(cut, int(offsets[-1]), arrays[cut].shape[0])
            lengths.append(np.diff(offsets))
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))])

    def _strings(self, name: str) -> tuple[UInt8[np.ndarray, "N"], Int64[np.ndarray, "S1"]]:
        """Return the bytes of all strings and where each ends, seen to be text: strings are cut out of it later."""
        data, offsets = self._values(f"{name}_bytes"), self._offsets(f"{name}_offsets")
        with reading(self._path, " and ".join(place for place, _ in self._parts)):
            see_text(data, offsets)
        return data, offsets

    def _read(self, place: str, arrays: "Mapping[str, zarr.Array]", name: str, rows: slice = slice(None)) -> np.ndarray:
        """Return some rows of an array. A file that is gone would read as 0, which is a token: that is refused."""
        with reading(self._path, place):
            if rows.start in (None, 0) and arrays[name].nchunks_initialized < arrays[name].nchunks:
                raise ValueError(f"{name} lacks files")
            values = np.asarray(arrays[name][rows])
            check_values(name, values, self._vocab_sizes, self._labels)
            return values


def _is_plain(array: "zarr.Array") -> bool:
    return array.chunks == array.shape and array.shards is None and not array.compressors and not array.filters


@contextmanager
def reading(path: Path, place: str) -> Iterator[None]:
    """Make one line of a damaged store of what zarr and its codecs say of files that are not what they were."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of any kind: a shape may ask for more than the memory, a fill value fit no dtype
        said = " ".join(str(error).split())
        raise UserError(f"{path} is damaged in {place} ({said}); encode again") from None
