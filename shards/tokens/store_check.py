"""Whether a token store is what token_store.py says: its attributes, the shapes of its arrays, the values in them.

Whoever opens a store asks here, so that damage is one line at once and not wrong tokens later. All raise ValueError.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from audio_tokens.errors import checked

# Of every array: its dtype, its number of axes, and the array of offsets that cuts it into clips (itself for offsets).
ARRAYS = {
    "ids": (np.uint16, 2, "offsets"),
    "top_ids": (np.uint16, 3, "offsets"),
    "top_cosines": (np.uint8, 3, "offsets"),
    "label_ids": (np.int32, 1, "label_offsets"),
    "label_shares": (np.float32, 1, "label_offsets"),
    "key_bytes": (np.uint8, 1, "key_offsets"),
    "group_bytes": (np.uint8, 1, "group_offsets"),
    **{name: (np.int64, 1, name) for name in ("offsets", "label_offsets", "key_offsets", "group_offsets")},
}
MOST_TOKENS = 1 << 16  # ids are uint16
PLAIN = (
    "ids",
    "top_ids",
    "top_cosines",
)  # one chunk without a codec: the file of an array is its numbers and nothing else
MAY_LACK = ("top_ids", "top_cosines", "label_shares")
ATTRIBUTES = {
    "places": list,
    "labels": list,
    "single_label": bool,
    "vocab_sizes": list,
    "codebook": str,
    "dataset": str,
}


@runtime_checkable
class Shaped(Protocol):
    """An array, in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...


def check_attributes(attributes: Any) -> None:
    """See that the attributes that everyone needs are there."""
    checked(attributes, ATTRIBUTES)
    for name, kind in (("places", str), ("labels", str), ("vocab_sizes", int)):
        if not all(type(value) is kind for value in attributes[name]):
            raise ValueError(f"{name} holds {attributes[name]!r:.60}")
    if not all(1 <= size <= MOST_TOKENS for size in attributes["vocab_sizes"]):
        raise ValueError(f"vocab_sizes holds {attributes['vocab_sizes']!r:.60}")


def plain_file(array: Path, axes: int) -> Path:
    """Return the file of the one chunk of the array in a folder."""
    return array.joinpath("c", *axes * ["0"])


def check_shapes(arrays: Mapping[str, Shaped], streams: int) -> None:
    """See that a group has all arrays, of the right kinds, and that their lengths fit each other."""
    if missing := [name for name in ARRAYS if name not in arrays and name not in MAY_LACK]:
        raise ValueError(f"{missing[0]} is missing")
    for name, (dtype, axes, offsets) in ARRAYS.items():
        if name not in arrays:
            continue
        array = arrays[name]
        if array.dtype != dtype or len(array.shape) != axes:
            raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
        if axes > 1 and array.shape[1] != streams:
            raise ValueError(f"{name} has {array.shape[1]} streams, not {streams}")
        if name == offsets and array.shape != arrays["offsets"].shape:
            raise ValueError(f"{name} and offsets differ in length")
    for name, beside in (("ids", "top_ids"), ("top_ids", "top_cosines"), ("label_ids", "label_shares")):
        if beside in arrays and (name not in arrays or not _alike(arrays[name].shape, arrays[beside].shape)):
            raise ValueError(f"{name} and {beside} differ in length")


def check_values(name: str, values: np.ndarray, vocab_sizes: Sequence[int], labels: int) -> None:
    """See that an array, or some rows of it, holds what it may: offsets that rise from 0, known tokens and labels."""
    if not len(values):
        if name.endswith("offsets"):
            raise ValueError(f"{name} is empty")
    elif name.endswith("offsets"):
        if values[0] != 0 or (np.diff(values) < 0).any():
            raise ValueError(f"{name} do not rise from 0")
    elif name in ("ids", "top_ids"):
        most_Q = values.max(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
        if (most_Q >= np.array(vocab_sizes)).any():
            raise ValueError(f"{name} go up to {most_Q.max()}, beyond the codebook's")
    elif name == "label_ids" and not 0 <= values.min() <= values.max() < labels:
        raise ValueError(f"label_ids go from {values.min()} to {values.max()}, and there are {labels} labels")
    elif name == "label_shares" and not np.isfinite(values).all():
        raise ValueError("label_shares hold what is not finite")


def check_ends(name: str, last_offset: int, rows: int) -> None:
    """See that the offsets of an array end where it does."""
    if last_offset != rows:
        raise ValueError(f"{ARRAYS[name][2]} end at {last_offset}, and {name} has {rows} rows")


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))
