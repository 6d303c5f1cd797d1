"""One array as the bytes of one member: npy, as float16 or as uint8 with an affine scale, plain or zstd.

T frames, F bands. A member is named `<key>.mel.npy` or `<key>.mel.npy.zst`. uint8 keeps a clip's own range in 256
steps: over 80 dB the error is at most 80 / 255 / 2 = 0.157 dB.
"""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import zstandard
from jaxtyping import Float, Float32, Shaped, UInt8

from audio_tokens.errors import ClipError, UserError

MOST_BYTES = 1 << 28  # of an array: the mel of 13 hours, and a few KB may claim any number
NPY_MAGIC = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How arrays lie in a shard.

    Args:
        dtype: float16 as it is, or uint8 in the clip's own range (half the bytes, error at most 0.16 dB over 80 dB)
        zstd: compress each member (webdataset yields the compressed bytes; `unpack` below reads both)
    """

    dtype: Literal["float16", "uint8"] = "float16"
    zstd: bool = False

    @property
    def ending(self) -> str:
        return "mel.npy.zst" if self.zstd else "mel.npy"


def pack(array_TF: Float[np.ndarray, "T F"], packing: Packing) -> tuple[bytes, dict[str, list[float]]]:
    """Return the member's bytes and what its JSON must say beside it ({} or {"affine": [offset, step]}).

    Raises ClipError for an array without frames, or with values that float16 cannot hold.
    """
    if not array_TF.size:
        raise ClipError("no frames")
    with np.errstate(over="ignore"):
        half_TF = array_TF.astype(np.float16)
    if not np.isfinite(half_TF).all():
        raise ClipError("not finite as float16")
    beside: dict[str, list[float]] = {}
    if packing.dtype == "uint8":
        low = float(array_TF.min())
        step = (float(array_TF.max()) - low) / 255 or 1.0
        stored_TF: np.ndarray = np.rint((array_TF - low) / step).astype(np.uint8)
        beside["affine"] = [low, step]
    else:
        stored_TF = half_TF
    data = b"".join((_npy_header(stored_TF.dtype.str, stored_TF.shape), np.ascontiguousarray(stored_TF).data))
    return (zstandard.compress(data, 3) if packing.zstd else data), beside


def unpack(member: bytes | memoryview, ending: str) -> Shaped[np.ndarray, "..."]:
    """Return the array of a member as it is stored, float16 or uint8: read-only, a view where it is not compressed.

    Raises UserError for bytes that are no array of ours.
    """
    if ending.endswith(".zst"):
        try:
            claimed_bytes = zstandard.frame_content_size(member)
            if claimed_bytes > MOST_BYTES:
                raise UserError(f"a member says that it holds {claimed_bytes:,} bytes; at most {MOST_BYTES:,} are read")
            member = zstandard.decompress(member)
        except zstandard.ZstdError as error:
            raise UserError(f"a member cannot be decompressed: {error}") from None
    header_bytes = 10 + int.from_bytes(member[8:10], "little")
    dtype, shape = _parse_npy_header(bytes(member[:header_bytes]))
    return np.frombuffer(member, dtype, offset=header_bytes).reshape(shape)


def scaled(stored_TF: UInt8[np.ndarray, "*shape"], affine: Sequence[float]) -> Float32[np.ndarray, "*shape"]:
    """Return what was stored as uint8 with the offset and step that `pack` told."""
    low, step = affine
    return stored_TF * np.float32(step) + np.float32(low)


@lru_cache(maxsize=64)
def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header that numpy.save writes, byte for byte (format 1.0, padded to 64)."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(NPY_MAGIC) + 2 + len(text) + 1) % 64) + "\n"
    return NPY_MAGIC + len(text).to_bytes(2, "little") + text.encode("latin1")


@lru_cache(maxsize=4096)  # numpy's own parser costs 20 us a header; clips of one length share one
def _parse_npy_header(header: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    try:
        fields = ast.literal_eval(header[10:].decode("latin1"))
        dtype, shape = np.dtype(fields["descr"]), tuple(fields["shape"])
        known = header.startswith(NPY_MAGIC) and not fields["fortran_order"] and dtype in (np.float16, np.uint8)
        known = known and all(type(length) is int and length >= 0 for length in shape)
    except Exception:  # of the parser, or of numpy: a header may say anything
        known = False
    if not known:
        raise UserError("a member is no float16 or uint8 npy array; `audio-tokens verify` names the torn shard")
    return dtype, shape
