"""A source behind a URL gives the clips of the same files in a folder, with nothing staged; so do shards."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import s3fs

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.plan import lane_blocks
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.files import find_files
from audio_tokens.shards.sources.registry import open_source
from tests.shards.dataset.mel_sets import mel_set
from tests.shards.sources.audio_sets import Listed, odd_clips, write_parquet, write_tars
from tests.shards.sources.servers import Served, serve
from tests.shards.tasks.toy_build import toy_build, toy_tasks


@pytest.fixture(scope="module")
def clips() -> list[Listed]:
    extra = [clip._replace(video_id=f"other{n:06d}", part="eval") for n, clip in enumerate(odd_clips()[5:9])]
    return [*odd_clips(), *extra]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with serve(tmp_path, s3=True) as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
        s3fs.S3FileSystem.clear_instance_cache()  # or it would ask the server of the test before
        yield served


def listed(spec: str) -> list[tuple[object, ...]]:
    source = open_source(spec)
    found = [item for task in source.tasks() for item in source.clips(task)]
    return [(c.key, c.labels, c.place, c.sound()) if isinstance(c, Clip) else (c.source_id, c.reason) for c in found]


@pytest.mark.parametrize("layout", [write_parquet, write_tars])
def test_a_web_server_with_an_index(layout, clips: list[Listed], tmp_path: Path) -> None:
    local = listed(layout(tmp_path, clips))
    with serve(tmp_path) as served:
        assert listed(f"audioset:{served.url}/") == local
    if layout is write_parquet:
        assert served.requests["range"] > 0  # read group by group, not downloaded


def test_a_web_server_with_a_list_of_files(clips: list[Listed], tmp_path: Path) -> None:
    local = listed(write_parquet(tmp_path, clips))
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet"))
    (tmp_path / "files.txt").write_text("\n".join(["# a comment", *names, ""]))
    with serve(tmp_path, lists=False) as served:
        assert listed(f"audioset:{served.url}/files.txt") == local


@pytest.mark.parametrize("layout", [write_parquet, write_tars])
def test_a_bucket(layout, clips: list[Listed], tmp_path: Path, bucket: Served) -> None:
    local = listed(layout(tmp_path, clips))
    assert listed("audioset:s3://audio") == local
    assert bucket.requests["range"] > 0


def test_webdataset_shards_on_a_web_server(tmp_path: Path) -> None:
    from tests.shards.sources.test_wds import write_wds

    local = listed(write_wds(tmp_path, 3))
    with serve(tmp_path, lists=False) as served:
        (tmp_path / "shards.txt").write_text("".join(f"{path.name}\n" for path in tmp_path.glob("*.tar")))
        assert listed(f"wds:{served.url}/shards.txt") == local


def test_remote_shards_hold_the_same_samples(tmp_path: Path) -> None:
    toy_build(toy_tasks(tmp_path / "s"), workers=1)
    local = Dataset.open(tmp_path / "s")
    with serve(tmp_path) as served:
        remote = Dataset.open(f"{served.url}/s")
        assert (remote.hash, remote.shards) == (local.hash, local.shards)
        for shard in range(len(local.shards)):
            for start, stop in ((0, None), (1, 3)):
                ours, theirs = list(local.read(shard, start, stop)), list(remote.read(shard, start, stop))
                assert [(a.key, a.meta) for a in ours] == [(b.key, b.meta) for b in theirs]
                assert all(np.array_equal(a.array_TF, b.array_TF) for a, b in zip(ours, theirs, strict=True))
        assert remote.sample(1, -1).key == local.sample(1, -1).key
        with pytest.raises(UserError, match="there are no shards at http"):
            Dataset.open(f"{served.url}/none")


def test_of_remote_shards_little_more_is_sent_than_what_is_read(tmp_path: Path) -> None:
    """A fit reads blocks of clips in an order of its own: 30 times their bytes were sent when each began at byte 0."""
    mels = [np.zeros((43, 64), np.float16) for _ in range(240)]
    local = mel_set(tmp_path / "s", mels, shard_clips=80)
    with serve(tmp_path, lists=False) as served:
        remote = Dataset.open(f"{served.url}/s")
        read = 0
        for blocks in lane_blocks(np.array([shard.clips for shard in local.shards]), 4, 16, seed=0, epoch=0):
            for shard, start, stop in blocks.tolist():
                read += sum(sample.array_TF.nbytes for sample in remote.read(shard, start, stop))
    assert read == sum(mel_TF.nbytes for mel_TF in mels)
    shard_bytes = sum(shard.bytes for shard in local.shards)
    assert shard_bytes < served.sent_bytes + 10_000  # all of them but for the end of each
    assert served.sent_bytes < 1.1 * shard_bytes


def test_a_server_without_ranges_is_told(tmp_path: Path) -> None:
    mel_set(tmp_path / "s", [np.zeros((9, 8), np.float16) for _ in range(9)], shard_clips=3)
    with serve(tmp_path, lists=False, ranges=False) as served:
        remote = Dataset.open(f"{served.url}/s")
        with pytest.raises(UserError, match="is served whole, not in ranges"):
            remote.sample(1, 1)


def test_a_folder_that_cannot_be_listed_is_named_and_not_left_out(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "a.tar").touch()
    (tmp_path / "b.tar").touch()
    script = f"""
import os
from audio_tokens.shards.sources.files import find_files
os.geteuid() or os.setresuid(65534, 65534, 65534)  # nobody: a superuser may list everything
print(find_files({str(tmp_path)!r}, ".tar"))
"""
    for folder in [tmp_path, *tmp_path.parents[:-2]]:
        folder.chmod(0o755)
    closed.chmod(0)
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    closed.chmod(0o755)
    assert "UserError" in asked.stderr
    assert "cannot be read: [Errno 13] Permission denied" in asked.stderr


def test_a_bucket_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="'s3://none/x' cannot be read: Unable to locate credentials"):
        find_files("s3://none/x", ".tar")
    with pytest.raises(UserError, match="'s3://none/x' cannot be read: Unable to locate credentials"):
        Dataset.open("s3://none/x")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no \*\.tar at"):
        find_files(str(tmp_path), ".tar")
    (tmp_path / "x-00.tar").touch()
    with pytest.raises(UserError, match=r"there is no \*\.tar at .*x-01\.tar"):  # one of the names that braces make
        find_files(f"{tmp_path}/x-{{00..01}}.tar", ".tar")
    (tmp_path / "x-00.tar").unlink()
    with pytest.raises(UserError, match=r"scheme 'nonsense', not file, .*--allow nonsense permits it"):
        find_files("nonsense://x", ".tar")
    with pytest.raises(UserError, match=r"there is no \*\.parquet or \*\.tar or \*\.tgz or \*\.csv at"):
        open_source(f"audioset:{tmp_path}")
    (tmp_path / "eval00.tar").touch()
    with pytest.raises(UserError, match=r"has tars but no \*segments\*.csv; name the lists' place with --segments"):
        open_source(f"audioset:{tmp_path}")
