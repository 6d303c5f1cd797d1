"""Archives that are torn: a command fails, or with --skip-failed goes on and says what it lacks."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli
from audio_tokens.shards.dataset.manifest import Dataset
from tests.shards.tasks.toy_build import contents


def shard(first: int) -> bytes:
    """Return a tar of six clips of a second, each with its JSON before it."""
    packed, rng = io.BytesIO(), np.random.default_rng(first)
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for number in range(first, first + 6):
            sound = io.BytesIO()
            soundfile.write(sound, rng.uniform(-0.3, 0.3, 8000), 8000, format="WAV")
            about = json.dumps({"label": "Dog", "id": f"clip {number}"}).encode()
            for ending, data in (("json", about), ("wav", sound.getvalue())):
                member = tarfile.TarInfo(f"{number}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> str:
    """One whole shard, one cut inside its fourth clip, and one whose compression breaks at once."""
    cut, clip_bytes = shard(6), 512 + 512 + 512 + 16384
    assert len(cut) // clip_bytes == 6
    (tmp_path / "a.tar").write_bytes(shard(0))
    (tmp_path / "b.tar").write_bytes(cut[: 3 * clip_bytes + 5000])
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(shard(12))[:20])
    return f"wds:{tmp_path}"


def test_a_build(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", "--source", source, "--workers", "1"]
    assert cli.main([*words, "--out", str(tmp_path / "one")]) == 1
    said = capsys.readouterr().err
    assert said.count("failed three times") == 2
    assert "with --skip-failed leaves out what cannot be read" in said
    assert not (tmp_path / "one" / "dataset.json").exists()
    assert cli.main([*words, "--out", str(tmp_path / "one"), "--skip-failed"]) == 0
    said = capsys.readouterr().out
    dataset = Dataset.open(tmp_path / "one")
    left_out = dataset.manifest["left_out"]
    assert [line.split(":")[0] for line in left_out] == ["b.tar", "c.tar.gz"]
    assert left_out[0].startswith("b.tar: 4 read, rest unknown: ReadError: unexpected end of data")
    assert left_out[1].startswith("c.tar.gz: 0 read, rest unknown: ")
    assert all(f"warning: left out: {line}" in said for line in left_out)
    written = {sample.meta["id"] for index in range(len(dataset.shards)) for sample in dataset.read(index)}
    assert written == {f"clip {number}" for number in range(9)}
    (reject,) = map(json.loads, (tmp_path / "one" / "rejects.jsonl").read_text().splitlines())
    assert reject == {"id": "clip 9", "reason": "cut off where the archive breaks off: unexpected end of data"}
    assert cli.main(["verify", str(tmp_path / "one")]) == 0
    assert cli.main([*words[:-1], "2", "--out", str(tmp_path / "two"), "--skip-failed"]) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
