"""A shard is plain tar, the same bytes every time, and reads back what was written: by us, GNU tar and webdataset."""

import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.packing import Packing, scaled, unpack
from audio_tokens.shards.dataset.tar_shard import Sample, ShardReader, ShardWriter, pack_sample

PACKINGS = [Packing(), Packing(dtype="uint8"), Packing(zstd=True), Packing(dtype="uint8", zstd=True)]


def samples_of(clips: int, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [
        Sample(
            f"-{'k' * int(rng.integers(1, 60))}{number}",
            rng.uniform(-80, 0, (int(rng.integers(1, 30)), 64)).astype(np.float32),
            {"labels": [number], "id": f"ü/{number}.x", "seconds": 0.5, "place": "train", "group": "g"},
        )
        for number in range(clips)
    ]


def write(path: Path, samples: list[Sample], packing: Packing | None = None) -> str:
    with path.open("wb") as file:
        writer = ShardWriter(file)
        for sample in samples:
            writer.add(pack_sample(sample, packing or Packing()))
        index_C4 = writer.close()
    assert np.array_equal(index_C4, ShardReader(path).index_C4)
    return writer.sha256


@pytest.mark.parametrize("packing", PACKINGS, ids=lambda packing: packing.ending + packing.dtype)
def test_what_was_written_is_read(packing: Packing, tmp_path: Path) -> None:
    samples, path = samples_of(20), tmp_path / "a.tar"
    write(path, samples, packing)
    # float16 keeps 11 bits (0.03 at 80); uint8 keeps half of 1/255 of the clip's range.
    tolerance = 0.03125 if packing.dtype == "float16" else 80 / 255 / 2 + 1e-4
    for sample, read in zip(samples, ShardReader(path).read(), strict=True):
        assert (read.key, read.meta) == (sample.key, sample.meta)
        assert np.abs(read.array_TF - sample.array_TF).max() <= tolerance


def test_uint8_errs_by_at_most_016_db_over_80_db() -> None:
    ramp_TF = np.linspace(-97.3, -17.3, 64 * 500, dtype=np.float32).reshape(500, 64)
    packed = pack_sample(Sample("k", ramp_TF, {}), Packing(dtype="uint8"))
    affine = __import__("json").loads(packed.meta)["affine"]
    assert np.abs(scaled(unpack(packed.array, packed.ending), affine) - ramp_TF).max() <= 0.16


@given(
    clips=st.integers(0, 12), seed=st.integers(0, 99), start=st.integers(-15, 15), stop=st.none() | st.integers(0, 15)
)
def test_any_range_is_that_range(clips: int, seed: int, start: int, stop: int | None, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("shard") / "a.tar"
    samples = samples_of(clips, seed)
    write(path, samples)
    read = [sample.key for sample in ShardReader(path).read(start, stop)]
    assert read == [sample.key for sample in samples][start:stop]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.tar", samples_of(9)), write(tmp_path / "b.tar", samples_of(9))
    assert first == second
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert write(tmp_path / "c.tar", samples_of(9, seed=1)) != first


def test_arrays_are_views_that_nobody_can_write_through(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", samples_of(3))
    array_TF = ShardReader(tmp_path / "a.tar").sample(2).array_TF
    assert not array_TF.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array_TF[0] = 1


@pytest.mark.parametrize("packing", PACKINGS, ids=lambda packing: packing.ending + packing.dtype)
def test_gnu_tar_extracts_it(packing: Packing, tmp_path: Path) -> None:
    samples = samples_of(7)
    write(tmp_path / "a.tar", samples, packing)
    (tmp_path / "out").mkdir()
    words = ["tar", "-xf", str(tmp_path / "a.tar"), "-C", str(tmp_path / "out")]
    assert subprocess.run(words, check=True, capture_output=True).stderr == b""
    expected = {f"{sample.key}.{ending}" for sample in samples for ending in (packing.ending, "json")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
    if packing == Packing():
        for sample, read in zip(samples, ShardReader(tmp_path / "a.tar").read(), strict=True):
            assert (np.load(tmp_path / "out" / f"{sample.key}.mel.npy") == read.array_TF).all()


def test_webdataset_decodes_equal_samples(tmp_path: Path) -> None:
    samples = samples_of(7)
    write(tmp_path / "a.tar", samples)
    decoded = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode())
    for ours, theirs in zip(ShardReader(tmp_path / "a.tar").read(), decoded, strict=True):
        assert theirs["__key__"] == ours.key
        assert theirs["json"] == ours.meta
        assert (theirs["mel.npy"] == ours.array_TF).all()


def test_webdataset_yields_compressed_members_and_our_decoder_reads_them(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", samples_of(7), Packing(zstd=True))
    raw = webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
    for ours, theirs in zip(ShardReader(tmp_path / "a.tar").read(), raw, strict=True):
        assert (unpack(theirs["mel.npy.zst"], "mel.npy.zst") == ours.array_TF).all()


def test_headers_hold_nothing_of_time_or_owner(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", samples_of(3))
    with tarfile.open(tmp_path / "a.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


@pytest.mark.parametrize("cut", [1, 512, 1024, 3000])
def test_a_torn_shard_is_refused(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write(path, samples_of(5))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UserError, match="torn"):
        ShardReader(path)


def test_no_pickle_is_read_from_a_member() -> None:
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    with pytest.raises(UserError, match="no float16 or uint8 npy array"):
        unpack(header + text.ljust(117) + b"\n" + b"cos\nsystem\n", "mel.npy")
