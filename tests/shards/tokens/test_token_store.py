import json

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from audio_tokens.shards.tokens import token_parts
from audio_tokens.shards.tokens.store_check import check_values
from audio_tokens.shards.tokens.token_parts import TokenClip, pack, write_part
from audio_tokens.shards.tokens.token_store import RAGGED, TokenStore

ATTRIBUTES = {"codebook": "c", "dataset": "d", "vocab_sizes": [500, 200], "labels": ["a", "b"], "single_label": False}


def toy_clips(seed, count, top=0):
    rng = np.random.default_rng(seed)
    for index in range(count):
        positions = int(rng.integers(1, 40))
        shape = (positions, 2, top)
        beside = {
            "top_ids": rng.integers(0, 200, shape).astype(np.uint16),
            "top_cosines": rng.integers(0, 256, shape).astype(np.uint8),
        }
        yield TokenClip(
            key=f"clip-{seed}-{index}",
            group=f"recording-é-{index // 2}",
            label_ids=list(range(index % 3)),
            ids_PQ=rng.integers(0, 200, (positions, 2)).astype(np.uint16),
            beside=beside if top else {},
        )


def stored(folder, top=0, parts=3):
    clips = {"train": [list(toy_clips(seed, 5, top)) for seed in range(parts)], "test": [list(toy_clips(9, 4, top))]}
    paths = {
        place: [folder / f"{place}-{index}.npz" for index in range(len(groups))] for place, groups in clips.items()
    }
    for place, groups in clips.items():
        for path, group in zip(paths[place], groups, strict=True):
            assert write_part(path, group) == len(group)
    pack(folder / "tokens.zarr", paths, ATTRIBUTES)
    return {place: [clip for group in groups for clip in group] for place, groups in clips.items()}


def test_every_clip_comes_back_whole_and_in_order(tmp_path):
    clips = stored(tmp_path, top=3)
    store = TokenStore.open(tmp_path / "tokens.zarr")
    assert store.places == ("train", "test")
    assert (store.vocab_sizes, store.labels, store.codebook_hash) == ((500, 200), ("a", "b"), "c")
    for place in store.places:
        group = store.group(place)
        assert group.keys == [clip.key for clip in clips[place]]
        assert group.groups == [clip.group for clip in clips[place]]
        for index, clip in enumerate(clips[place]):
            positions = slice(group.offsets[index], group.offsets[index + 1])
            labels = slice(group.label_offsets[index], group.label_offsets[index + 1])
            assert np.array_equal(group.ids_PQ[positions], clip.ids_PQ)
            assert np.array_equal(group.top_ids_PQM[positions], clip.beside["top_ids"])
            assert np.array_equal(group.top_cosines_PQM[positions], clip.beside["top_cosines"])
            assert group.label_ids[labels].tolist() == list(clip.label_ids)


def test_tensorstore_and_zarr_open_every_array_alike(tmp_path):
    stored(tmp_path, top=2)
    seen = 0
    for _, group in zarr.open_group(tmp_path / "tokens.zarr", mode="r").groups():
        for name, array in group.arrays():
            path = str(tmp_path / "tokens.zarr" / array.path) + "/"
            other = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()
            assert other.dtype.numpy_dtype == array.dtype, name
            assert np.array_equal(other.read().result(), array[...]), name
            seen += 1
    assert seen == 2 * (2 * len(RAGGED) + 2)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_an_array_longer_than_a_shard_is_written_whole_each_shard_once(pieces, tmp_path_factory):
    arrays = [np.arange(sum(pieces[:i]), sum(pieces[: i + 1]), dtype=np.uint16)[:, None] for i in range(len(pieces))]
    slabs = list(token_parts._slabs(arrays[0], iter(arrays[1:]), 16))
    assert all(len(slab) == 16 for slab in slabs[:-1])
    assert np.concatenate([*slabs, arrays[0][:0]])[:, 0].tolist() == list(range(sum(pieces)))


def test_shards_of_several_slabs(tmp_path, monkeypatch):
    monkeypatch.setattr(token_parts, "CHUNK_BYTES", 64)
    monkeypatch.setattr(token_parts, "CHUNKS_PER_SHARD", 2)
    clips = stored(tmp_path)
    files = list((tmp_path / "tokens.zarr" / "train" / "group_bytes" / "c").rglob("*"))
    assert len([file for file in files if file.is_file()]) > 1
    assert TokenStore.open(tmp_path / "tokens.zarr").group("train").groups == [clip.group for clip in clips["train"]]


@pytest.mark.parametrize("plain", [("ids",), token_parts.PLAIN], ids=["older stores", "now"])
def test_alternatives_are_mapped_and_those_of_older_stores_are_read(tmp_path, monkeypatch, plain):
    monkeypatch.setattr(token_parts, "PLAIN", plain)
    clips = stored(tmp_path, top=3)
    for name, attribute in {"top_ids": "top_ids_PQM", "top_cosines": "top_cosines_PQM"}.items():
        found = getattr(TokenStore.open(tmp_path / "tokens.zarr").group("train"), attribute)
        assert isinstance(found.base, np.memmap) == (name in plain)
        assert np.array_equal(found, np.concatenate([clip.beside[name] for clip in clips["train"]]))


def test_tokens_of_one_place_are_mapped_and_a_file_of_another_length_is_refused(tmp_path):
    clips = stored(tmp_path)
    group = TokenStore.open(tmp_path / "tokens.zarr").group("train")
    assert isinstance(group.ids_PQ.base, np.memmap)
    assert np.array_equal(group.ids_PQ, np.concatenate([clip.ids_PQ for clip in clips["train"]]))
    file = tmp_path / "tokens.zarr" / "train" / "ids" / "c" / "0" / "0"
    group.ids_PQ[0] = 7  # in memory alone
    assert file.read_bytes() == np.concatenate([clip.ids_PQ for clip in clips["train"]]).tobytes()
    for data in (file.read_bytes()[:-2], file.read_bytes() + bytes(2), file.read_bytes()[:-2] + b"\xff\xff"):
        file.write_bytes(data)
        with pytest.raises(UserError, match=r"is damaged in train \(ids "):
            TokenStore.open(tmp_path / "tokens.zarr").group("train").ids_PQ  # noqa: B018
    file.unlink()
    with pytest.raises(UserError, match="is damaged in train"):
        TokenStore.open(tmp_path / "tokens.zarr").group("train").ids_PQ  # noqa: B018


def test_several_places_are_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(token_parts, "CHUNK_BYTES", 64)
    monkeypatch.setattr(token_parts, "CHUNKS_PER_SHARD", 2)
    clips = stored(tmp_path, top=2)
    store = TokenStore.open(tmp_path / "tokens.zarr")
    both, expected = store.group("test", "train").load(), [*clips["test"], *clips["train"]]
    assert (len(both), both.streams, both.alternatives) == (len(expected), 2, 2)
    assert both.keys == [clip.key for clip in expected]
    assert both.groups == [clip.group for clip in expected]
    assert np.array_equal(both.ids_PQ, np.concatenate([clip.ids_PQ for clip in expected]))
    assert np.diff(both.offsets).tolist() == [len(clip.ids_PQ) for clip in expected]
    assert both.label_ids.tolist() == [label for clip in expected for label in clip.label_ids]
    assert np.diff(both.label_offsets).tolist() == [len(clip.label_ids) for clip in expected]
    assert np.array_equal(both.top_ids_PQM, np.concatenate([clip.beside["top_ids"] for clip in expected]))
    assert np.array_equal(both.top_cosines_PQM, np.concatenate([clip.beside["top_cosines"] for clip in expected]))


def test_opening_reads_no_tokens_and_a_lost_file_is_refused_when_it_is_read(tmp_path):
    stored(tmp_path)
    lost = [file for file in (tmp_path / "tokens.zarr" / "train" / "ids" / "c").rglob("*") if file.is_file()]
    lost[0].unlink()
    group = TokenStore.open(tmp_path / "tokens.zarr").group("train")
    assert len(group.keys) == len(group) == 15
    for read in (lambda: group.ids_PQ, group.load):
        with pytest.raises(UserError, match=r"tokens\.zarr is damaged in train \(ids lacks files\); encode again"):
            read()


def test_the_same_clips_make_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        stored(tmp_path / name)
    one, two = (
        {
            file.relative_to(tmp_path / name): file.read_bytes()
            for file in (tmp_path / name / "tokens.zarr").rglob("*")
            if file.is_file()
        }
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) > 20


def test_a_store_that_is_not_complete_is_refused_by_name(tmp_path):
    stored(tmp_path)
    meta = tmp_path / "tokens.zarr" / "zarr.json"
    whole = json.loads(meta.read_text())
    for incomplete in ({**whole["attributes"], "complete": False}, {**whole["attributes"], "complete": None}):
        meta.write_text(json.dumps(whole | {"attributes": incomplete}))
        with pytest.raises(UserError, match=r"tokens\.zarr is not complete"):
            TokenStore.open(tmp_path / "tokens.zarr")


def test_what_is_no_store_of_ours_is_refused(tmp_path):
    with pytest.raises(UserError, match="there are no tokens"):
        TokenStore.open(tmp_path / "nothing.zarr")
    zarr.create_group(tmp_path / "foreign.zarr", zarr_format=3)
    with pytest.raises(UserError, match="no token store"):
        TokenStore.open(tmp_path / "foreign.zarr")
    stored(tmp_path)
    meta = tmp_path / "tokens.zarr" / "zarr.json"
    meta.write_text(meta.read_text().replace('"version": 2', '"version": 7'))
    with pytest.raises(UserError, match="version 7"):
        TokenStore.open(tmp_path / "tokens.zarr")


def test_a_killed_pack_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(token_parts, "_beside", die)
    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path)
    assert not (tmp_path / "tokens.zarr").exists()
    monkeypatch.undo()
    stored(tmp_path)
    TokenStore.open(tmp_path / "tokens.zarr")


def test_an_alternative_beyond_the_vocabulary_is_refused() -> None:
    top_ids_PQM = np.zeros((5, 2, 3), np.uint16)
    top_ids_PQM[0, 0, 2], top_ids_PQM[4, 1, 1] = 3, 6
    check_values("top_ids", top_ids_PQM, (4, 7), labels=1)
    with pytest.raises(ValueError, match="top_ids go up to 6, beyond the codebook's"):
        check_values("top_ids", top_ids_PQM, (4, 6), labels=1)
