"""From the tokens of clips to a store: workers write parts, one packer puts the parts together.

A part is an .npz with the arrays of `token_store.RAGGED`: the values of its clips one after the other, and under the
name of the offsets the length of each clip. P positions, Q token streams.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt16

from audio_tokens.shards.integrity import files_below, seal
from audio_tokens.shards.publish import published_file, published_folder
from audio_tokens.shards.tokens.store_check import PLAIN, plain_file
from audio_tokens.shards.tokens.token_store import BESIDE, FORMAT, RAGGED, VERSION, VIEWS

CHUNK_BYTES = 1 << 20  # about 1 MB compresses well and is read at 500 MB/s and more
CHUNKS_PER_SHARD = 16  # a file of 16 MB before compression, written in one go: the most that is held in memory


@dataclass(frozen=True, kw_only=True)
class TokenClip:
    """The tokens of one clip and what belongs to them; `beside` holds the arrays that token_store.BESIDE names."""

    key: str
    group: str
    label_ids: Sequence[int]
    ids_PQ: UInt16[np.ndarray, "P Q"]
    beside: Mapping[str, Shaped[np.ndarray, "..."]]


def write_part(path: Path, clips: Iterable[TokenClip]) -> int:
    """Publish the part of some clips, at least one, and return their number."""
    values: dict[str, list[np.ndarray]] = {name: [] for name in RAGGED}
    for clip in clips:
        values["ids"].append(clip.ids_PQ)
        values["label_ids"].append(np.array(clip.label_ids, np.int32))
        values["key_bytes"].append(np.frombuffer(clip.key.encode(), np.uint8))
        values["group_bytes"].append(np.frombuffer(clip.group.encode(), np.uint8))
        for name, array in clip.beside.items():
            values.setdefault(name, []).append(array)
    arrays = {name: np.concatenate(parts) for name, parts in values.items()}
    for name, offsets in RAGGED.items():
        arrays[offsets] = np.array([len(part) for part in values[name]], np.int64)
    _publish(path, arrays)
    return len(values["ids"])


def write_selection(path: Path, part: Path, kept_C: Bool[np.ndarray, "C"]) -> None:
    """Publish a part of some clips of another one, at least one of them, in its order."""
    with np.load(part, allow_pickle=False) as file:
        arrays = dict(file)
    for name, offsets in RAGGED.items():
        kept = np.repeat(kept_C, arrays[offsets])
        for values in (name, *BESIDE.get(name, ())):
            if values in arrays:
                arrays[values] = arrays[values][kept]
        arrays[offsets] = arrays[offsets][kept_C]
    _publish(path, arrays)


def pack(
    out: Path,
    parts: Mapping[str, Sequence[Path]],
    attributes: Mapping[str, Any],
    rejects: Sequence[tuple[str, str]] = (),
    parents: Mapping[str, str | None] | None = None,
) -> None:
    """Publish the store `out`: per place the parts in their order, every zarr shard written exactly once.

    A place may be followed by VIEWS: the views of its clips. `rejects` (source id and reason) lie beside the groups in
    rejects.jsonl; `parents` are the ids of what the tokens were made from.
    """
    import zarr

    clips, positions, single_label = {}, {}, True
    places = [place for place in parts if not place.endswith(VIEWS)]
    with published_folder(out) as folder:
        root = zarr.create_group(folder, zarr_format=3)
        for place, paths in parts.items():
            group = root.create_group(place)
            for name, offsets in RAGGED.items():
                lengths = np.concatenate([_read(path, offsets) for path in paths])
                _write(group, offsets, [np.concatenate([[0], np.cumsum(lengths)])], len(lengths) + 1)
                for values in (name, *_beside(paths[0], name)):
                    write = partial(_write_plain, folder / place) if values in PLAIN else _write
                    write(group, values, (_read(path, values) for path in paths), int(lengths.sum()))
                if name == "ids" and place in places:
                    clips[place], positions[place] = len(lengths), int(lengths.sum())
                if name == "label_ids" and place in places:
                    single_label &= bool((lengths == 1).all())
        lines = [json.dumps({"id": source_id, "reason": reason}) + "\n" for source_id, reason in rejects]
        (folder / "rejects.jsonl").write_text("".join(lines))
        about: dict[str, Any] = {"format": FORMAT, "version": VERSION, "places": places}
        counts = {"clips": clips, "positions": positions, "single_label": single_label, "rejected": len(rejects)}
        root.attrs.update(about | counts | dict(attributes))
        root.attrs["complete"] = True
        seal(folder, FORMAT, parents or {}, files_below(folder))


def _publish(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with published_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _write(group: Any, name: str, arrays: Iterable[np.ndarray], rows: int) -> None:
    """Write one array from its pieces, in slabs that are whole zarr shards."""
    pieces = iter(arrays)
    first = next(pieces)
    row_bytes = first.dtype.itemsize * int(np.prod(first.shape[1:], dtype=np.int64))
    chunk_rows = max(1, CHUNK_BYTES // row_bytes)
    shard_rows = chunk_rows * CHUNKS_PER_SHARD
    target = group.create_array(
        name,
        shape=(rows, *first.shape[1:]),
        dtype=first.dtype,
        chunks=(chunk_rows, *first.shape[1:]),
        shards=(shard_rows, *first.shape[1:]),
        compressors=[_zstd()],
        config={"write_empty_chunks": True},  # a file that is not there is then a file that was lost
    )
    written = 0
    for slab in _slabs(first, pieces, shard_rows):
        target[written : written + len(slab)] = slab
        written += len(slab)
    assert written == rows, f"{name}: {written} rows of {rows}"


def _write_plain(folder: Path, group: Any, name: str, arrays: Iterable[np.ndarray], rows: int) -> None:
    """Write one array from its pieces as one chunk without a codec: its file holds the numbers alone, to be mapped."""
    pieces = iter(arrays)
    first = next(pieces)
    shape = (rows, *first.shape[1:])
    group.create_array(name, shape=shape, dtype=first.dtype, chunks=shape, compressors=None, filters=None)
    file = plain_file(folder / name, len(shape))
    file.parent.mkdir(parents=True)
    with file.open("wb") as target:
        for piece in chain([first], pieces):
            target.write(np.ascontiguousarray(piece).data)
        assert target.tell() == first.dtype.itemsize * int(np.prod(shape)), f"{name}: {target.tell()} bytes"


def _slabs(first: np.ndarray, rest: Iterator[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """Yield the pieces regrouped into arrays of exactly `rows` rows, but for the last."""
    pool, held = [first], len(first)
    for piece in rest:
        while held >= rows:
            whole = np.concatenate(pool)
            yield whole[:rows]
            pool, held = [whole[rows:]], held - rows
        pool.append(piece)
        held += len(piece)
    whole = np.concatenate(pool)
    for start in range(0, len(whole), rows):
        yield whole[start : start + rows]


def _read(path: Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


def _beside(path: Path, ragged: str) -> tuple[str, ...]:
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(name for name in BESIDE.get(ragged, ()) if name in arrays)


def _zstd() -> Any:
    from zarr.codecs import ZstdCodec

    return ZstdCodec(level=1)  # half the time of level 0 (which means 3), 6 % more bytes: tokens hold little to find
