"""clips.npz: what every clip of a data set is and where in its shard it lies, so that no shard is read to know it.

C clips in the order of the manifest's shards, N labels of all of them. Arrays, one after the other and not compressed:

    key_bytes    uint8 [.]      key_offsets    int64 [C + 1]   UTF-8
    group_bytes  uint8 [.]      group_offsets  int64 [C + 1]   the recording that a clip was cut from
    label_ids    int32 [N]      label_offsets  int64 [C + 1]
    frames       int64 [C]      of a clip's array
    index        int64 [C, 4]   where its array and its JSON begin in the shard, and how many bytes each has

Two million clips take 200 MB, which all processes of a machine share: a local table is mapped. Each shard leaves such a
table of its own clips for the commit, which joins them.
"""

import errno
import io
import math
import mmap
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Int64

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.strings import Strings, see_text
from audio_tokens.shards.dataset.tar_shard import BLOCK
from audio_tokens.shards.publish import published_file
from audio_tokens.shards.sources.addresses.remote import open_url

CLIPS = "clips.npz"
Arrays = Mapping[str, np.ndarray]
CUT = {"key_bytes": "key_offsets", "group_bytes": "group_offsets", "label_ids": "label_offsets"}
KINDS = {
    **dict.fromkeys(("key_bytes", "group_bytes"), (np.uint8, 1)),
    **dict.fromkeys(("key_offsets", "group_offsets", "label_offsets", "frames"), (np.int64, 1)),
    "label_ids": (np.int32, 1),
    "index": (np.int64, 2),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTable:
    """The clips of a data set; clip c has the labels label_ids[label_offsets[c] : label_offsets[c + 1]]."""

    keys: Sequence[str]
    groups: Sequence[str]
    label_ids: Int32[np.ndarray, "N"]
    label_offsets: Int64[np.ndarray, "C1"]
    frames_C: Int64[np.ndarray, "C"]
    index_C4: Int64[np.ndarray, "C 4"]

    @classmethod
    def of(cls, arrays: Arrays) -> "ClipTable":
        """Return what lies in the arrays of a file."""
        clips = len(arrays["frames"])
        return cls(
            keys=Strings(clips, lambda: (arrays["key_bytes"], arrays["key_offsets"])),
            groups=Strings(clips, lambda: (arrays["group_bytes"], arrays["group_offsets"])),
            label_ids=arrays["label_ids"],
            label_offsets=arrays["label_offsets"],
            frames_C=arrays["frames"],
            index_C4=arrays["index"],
        )


def arrays_of(
    keys: Sequence[str],
    groups: Sequence[str],
    labels: Sequence[Sequence[int]],
    frames: Sequence[int],
    index_C4: Int64[np.ndarray, "C 4"],
) -> Arrays:
    """Return the arrays of some clips."""
    texts = {"key": [key.encode() for key in keys], "group": [group.encode() for group in groups]}
    return {
        **{f"{name}_bytes": np.frombuffer(b"".join(parts), np.uint8) for name, parts in texts.items()},
        **{f"{name}_offsets": _offsets([len(part) for part in parts]) for name, parts in texts.items()},
        "label_ids": np.array([label for each in labels for label in each], np.int32),
        "label_offsets": _offsets([len(each) for each in labels]),
        "frames": np.array(frames, np.int64),
        "index": index_C4,
    }


def joined(tables: Iterable[Arrays]) -> Arrays:
    """Return the arrays of the clips of several tables, one table after the other."""
    parts = [arrays_of([], [], [], [], np.empty((0, 4), np.int64)), *tables]
    found = {name: np.concatenate([part[name] for part in parts]) for name in KINDS if name not in CUT.values()}
    lengths = {name: np.concatenate([np.diff(part[name]) for part in parts]) for name in CUT.values()}
    return {**found, **{name: _offsets(values) for name, values in lengths.items()}}


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Publish arrays as a file: equal arrays are equal bytes, since numpy dates the members of an npz to 1980."""
    with published_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: arrays[name] for name in KINDS})


def read_arrays(file: Path | io.BytesIO) -> Arrays:
    """Return the arrays of a file, whose checksums are compared. Raises what numpy and zipfile raise."""
    try:
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in KINDS}
    except OSError as error:
        if error.errno == errno.EINVAL:  # a seek to before the file, by a damaged directory
            raise ValueError("its members do not lie in it") from None
        raise


def mapped_arrays(file: Path) -> Arrays:
    """Return what `read_arrays` does as views of the mapped file: 100 bytes a clip less in every process.

    Raises ValueError for an npz of another kind.
    """
    found = {}
    with file.open("rb") as opened, zipfile.ZipFile(opened) as members:
        held = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        for name in KINDS:
            member = members.getinfo(f"{name}.npy")
            opened.seek(member.header_offset + 26)  # in its own header, which a name and more of varying length follow
            opened.seek(sum(struct.unpack("<HH", opened.read(4))), io.SEEK_CUR)
            if member.compress_type != zipfile.ZIP_STORED or np.lib.format.read_magic(opened) != (1, 0):
                raise ValueError(f"{name} is not stored as it is written here")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(opened)
            flat = np.frombuffer(held, dtype, math.prod(shape), opened.tell())
            found[name] = flat.reshape(shape, order="F" if by_columns else "C")
    return found


def read_table(location: str, shard_bytes_C: Int64[np.ndarray, "C"], labels: int) -> ClipTable:
    """Return the table of the data set in a folder or under a URL, whose clips lie in shards of so many bytes.

    Raises UserError where it is missing or does not fit.
    """
    file = f"{location}/{CLIPS}"
    try:
        if "://" in location:
            with open_url(file) as remote:
                arrays = read_arrays(io.BytesIO(remote.read()))
        else:
            read_arrays(Path(file))  # compares checksums
            arrays = mapped_arrays(Path(file))
        _check(arrays, shard_bytes_C, labels)
    except FileNotFoundError:
        raise UserError(f"{file} is missing: the data set was copied in part; copy or build it again") from None
    except OSError:
        raise
    except Exception as error:  # of any kind: numpy parses headers as Python, and says whatever that says
        said = " ".join(str(error).split())
        raise UserError(f"{file} is damaged ({said}); copy it again, or build the data set again") from None
    return ClipTable.of(arrays)


def _check(arrays: Arrays, shard_bytes_C: np.ndarray, labels: int) -> None:
    """Raise ValueError where the arrays are not of the format or of other clips."""
    clips = len(shard_bytes_C)
    for name, (dtype, axes) in KINDS.items():
        if arrays[name].dtype != dtype or arrays[name].ndim != axes:
            raise ValueError(f"{name} is {arrays[name].dtype} {list(arrays[name].shape)}")
    if arrays["frames"].shape != (clips,) or arrays["index"].shape != (clips, 4):
        raise ValueError(f"it lists {len(arrays['frames'])} clips, and the manifest {clips}")
    for values, name in CUT.items():
        offsets = arrays[name]
        if len(offsets) != clips + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"{name} do not rise from 0 for each clip")
        if offsets[-1] != len(arrays[values]):
            raise ValueError(f"{name} end at {offsets[-1]}, and {values} has {len(arrays[values])}")
    see_text(arrays["key_bytes"], arrays["key_offsets"])
    see_text(arrays["group_bytes"], arrays["group_offsets"])
    if (arrays["frames"] < 0).any() or not ((arrays["label_ids"] >= 0) & (arrays["label_ids"] < labels)).all():
        raise ValueError(f"frames or labels are out of range; there are {labels} labels")
    array_C, array_bytes_C, json_C, json_bytes_C = arrays["index"].T
    inside_C = (array_C >= BLOCK) & (array_bytes_C >= 0) & (array_bytes_C <= json_C - array_C)
    if not (inside_C & (json_bytes_C >= 0) & (json_bytes_C <= shard_bytes_C - json_C)).all():
        raise ValueError("its index reaches beyond a shard")


def _offsets(lengths: Sequence[int] | np.ndarray) -> Int64[np.ndarray, "C1"]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
