"""One shard: a plain webdataset tar (USTAR), the same bytes for the same samples, read back through memory.

C clips, T frames, F bands. Per sample two members, `<key>.mel.npy` and `<key>.json`:

    | 512 B header | array, padded to 512 | 512 B header | JSON, padded to 512 | ... | 1024 zero bytes |

Beside `x.tar` lies `x.index.npy`, int64 [C, 4]: where each array and each JSON begins, and how many bytes it has.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator
from functools import lru_cache
from io import IOBase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.dataset.packing import Packing, pack, unpack

BLOCK = 512


class Sample(NamedTuple):
    """A clip as it lies in a shard; `meta` holds label ids, id, seconds, place and group."""

    key: str
    array_TF: Float[np.ndarray, "T F"]
    meta: dict[str, Any]


class PackedSample(NamedTuple):
    """The bytes of a sample's two members."""

    key: str
    ending: str
    array: bytes
    meta: bytes

    @property
    def tar_bytes(self) -> int:
        """How much longer a shard becomes by it."""
        return sum(BLOCK + len(data) + -len(data) % BLOCK for data in (self.array, self.meta))


def pack_sample(sample: Sample, packing: Packing) -> PackedSample:
    """Return the sample as it will lie in a shard. Raises ClipError where its array cannot be stored."""
    data, beside = pack(sample.array_TF, packing)
    meta = json.dumps(sample.meta | beside, sort_keys=True, separators=(",", ":")).encode()
    return PackedSample(sample.key, packing.ending, data, meta)


class ShardWriter:
    """Appends samples to an open file; nothing of time, owner or machine reaches the bytes."""

    END_BYTES = 2 * BLOCK

    def __init__(self, file: BinaryIO) -> None:
        self.clips = self.bytes = 0
        self._file = file
        self._sha256 = hashlib.sha256()
        self._index: list[tuple[int, int, int, int]] = []

    def add(self, sample: PackedSample) -> None:
        """Append the two members of one sample."""
        start = self.bytes + BLOCK
        self._member(f"{sample.key}.{sample.ending}", sample.array)
        self._index.append((start, len(sample.array), self.bytes + BLOCK, len(sample.meta)))
        self._member(f"{sample.key}.json", sample.meta)
        self.clips += 1

    def close(self) -> Int64[np.ndarray, "C 4"]:
        """Write the end of the archive (the file stays the caller's to close) and return the index."""
        self._write(bytes(self.END_BYTES))
        return np.array(self._index, np.int64).reshape(-1, 4)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def _member(self, name: str, data: bytes) -> None:
        for piece in (_header(name, len(data)), data, bytes(-len(data) % BLOCK)):  # one clip may be 100 MB and more
            self._write(piece)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.bytes += len(data)


class ShardReader:
    """Random access to the samples of one local shard, without a copy: arrays are read-only views of the file."""

    def __init__(self, path: Path) -> None:
        """Map the shard. Raises UserError where it is missing or torn."""
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise UserError(f"shard {path} is missing; build the data set again") from None
        except ValueError:  # nothing to map
            raise UserError(f"shard {path} is empty; build the data set again") from None
        self._path, self._view = path, memoryview(self._map)
        found = read_index(path)
        self.index = scan(self._view, path) if found is None else found
        _, _, start, meta_bytes = self.index[-1].tolist() if len(self.index) else (0, 0, 0, 0)
        if len(self._view) != start + meta_bytes + -meta_bytes % BLOCK + ShardWriter.END_BYTES:
            raise UserError(f"shard {path} is torn: it has {len(self._view)} bytes; `audio-tokens verify` tells more")

    def __len__(self) -> int:
        return len(self.index)

    def sample(self, clip_index: int) -> Sample:
        try:
            key, ending, array, meta = self._members(clip_index)
            return _sample(key, ending, array, bytes(meta))
        except ValueError as error:
            raise UserError(
                f"shard {self._path} is damaged at its clip {clip_index} ({error}); `audio-tokens verify` tells more"
            ) from None

    def packed(self, clip_index: int) -> PackedSample:
        key, ending, array, meta = self._members(clip_index)
        return PackedSample(key, ending, bytes(array), bytes(meta))

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[Sample]:
        for clip_index in range(*slice(start, stop).indices(len(self))):
            yield self.sample(clip_index)

    def _members(self, clip_index: int) -> tuple[str, str, memoryview, memoryview]:
        array_start, array_bytes, meta_start, meta_bytes = self.index[clip_index].tolist()
        name = bytes(self._view[array_start - BLOCK : array_start - BLOCK + 100])
        key, _, ending = name.rstrip(b"\0").decode("ascii").partition(".")
        view = self._view
        return key, ending, view[array_start : array_start + array_bytes], view[meta_start : meta_start + meta_bytes]


def stream(file: IOBase) -> Iterator[Sample]:
    """Yield the samples of a shard read front to back, for shards that cannot be mapped (a bucket, a hub)."""
    while header := file.read(BLOCK).rstrip(b"\0"):
        name, member_bytes = _parse_header(header.ljust(BLOCK, b"\0"))
        data = _exactly(file, member_bytes)
        key, _, ending = name.partition(".")
        _, meta_bytes = _parse_header(_exactly(file, BLOCK))
        yield _sample(key, ending, memoryview(data), _exactly(file, meta_bytes))


def scan(view: memoryview, path: Path) -> Int64[np.ndarray, "C 4"]:
    """Return the index of a shard by walking over its headers. Raises UserError for a torn one."""
    members, at = [], 0
    while at + BLOCK <= len(view) and view[at]:
        _, member_bytes = _parse_header(bytes(view[at : at + BLOCK]))
        members.append((at + BLOCK, member_bytes))
        at += BLOCK + member_bytes + -member_bytes % BLOCK
    if at + ShardWriter.END_BYTES != len(view) or len(members) % 2:
        raise UserError(f"shard {path} is torn: its members end at byte {at} of {len(view)}; build it again")
    return np.array(members, np.int64).reshape(-1, 4)


def index_file(path: Path) -> Path:
    return path.with_suffix(".index.npy")


def read_index(path: Path) -> Int64[np.ndarray, "C 4"] | None:
    """Return the index beside a shard, or None where there is none. Raises UserError for one that is damaged."""
    try:
        found = np.load(index_file(path))
    except FileNotFoundError:
        return None
    except OSError:
        raise
    except Exception:  # numpy parses the header as Python, and says whatever that says
        found = None
    if not isinstance(found, np.ndarray) or found.dtype != np.int64 or found.ndim != 2 or found.shape[1] != 4:
        raise UserError(f"index {index_file(path)} is damaged; delete it, and the shard is read without")
    return found


def _sample(key: str, ending: str, member: memoryview, meta_bytes: bytes) -> Sample:
    meta = json_of(meta_bytes)
    return Sample(key, unpack(member, ending, meta.pop("affine", None)), meta)


def _exactly(file: IOBase, member_bytes: int) -> bytes:
    """Read a member's bytes and skip its padding."""
    data = file.read(member_bytes + -member_bytes % BLOCK)
    if len(data) < member_bytes:
        raise UserError(f"a shard ends {member_bytes - len(data)} bytes too early; fetch or build it again")
    return data[:member_bytes]


def _header(name: str, member_bytes: int) -> bytes:
    """A USTAR header: regular file, mode 0644, owner 0, time 0."""
    head, tail = _header_halves(member_bytes)
    name_bytes = name.encode("ascii")
    assert len(name_bytes) <= 100, f"{name} is too long for USTAR"
    total = sum(name_bytes) + sum(head) + sum(tail) + 8 * ord(" ")  # the checksum counts itself as spaces
    return name_bytes.ljust(100, b"\0") + head + b"%06o\0 " % total + tail


@lru_cache(maxsize=4096)
def _header_halves(member_bytes: int) -> tuple[bytes, bytes]:
    head = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % member_bytes + b"%011o\0" % 0
    return head, (b"0" + bytes(100) + b"ustar\x0000").ljust(BLOCK - 156, b"\0")


def _parse_header(header: bytes) -> tuple[str, int]:
    if header[257:262] != b"ustar":
        raise UserError("a shard is torn: no tar header where one belongs; `audio-tokens verify` names it")
    try:
        return header[:100].rstrip(b"\0").decode("ascii"), int(header[124:135], 8)
    except ValueError as error:
        raise UserError(f"a shard is damaged: {error} in a tar header; `audio-tokens verify` names it") from None
