"""webdataset shards of audio: labels by name, MID or number, splits by path or hash, a reason for each reject."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.labels import audioset
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import open_source


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_wds(folder: Path, shards: int, name: str = "train") -> str:
    for shard in range(shards):
        members: dict[str, bytes] = {}
        for number in range(4):
            key = f"{shard}-{number}"
            members[f"{key}.json"] = json.dumps({"id": f"id{key}", "label": ["Dog"], "label_id": [67]}).encode()
            members[f"{key}.flac"] = f"sound {key}".encode()
        write_tar(folder / f"{name}-{shard:03d}.tar", members)
    return f"wds:{folder}/{name}-*.tar"


def read(spec: str) -> list[Clip | Reject]:
    source = open_source(spec)
    return [item for task in source.tasks() for item in source.clips(task)]


def test_every_sample_is_a_clip(tmp_path: Path) -> None:
    write_wds(tmp_path, 3)
    for pattern in ("train-*.tar", "train-{000..002}.tar", "", "train-{000,001,002}.tar"):
        clips = [clip for clip in read(f"wds:{tmp_path}/{pattern}") if isinstance(clip, Clip)]
        assert [clip.key for clip in clips] == [f"id{s}-{n}" for s in range(3) for n in range(4)]
        assert [clip.sound() for clip in clips][5] == b"sound 1-1"
        assert {clip.labels for clip in clips} == {("Dog",)}


def test_labels_come_by_name_by_mid_and_by_number(tmp_path: Path) -> None:
    kinds = [
        {"label": "Dog"},
        {"label": "/m/0bt9lr"},
        {"label_id": audioset().names.index("Dog")},
        {"label_id": [0, 9999]},
    ]
    members = {}
    for number, labels in enumerate(kinds):
        members |= {f"{number}.json": json.dumps(labels).encode(), f"{number}.wav": b"x"}
    write_tar(tmp_path / "a.tar", members)
    clips = [clip for clip in read(f"wds:{tmp_path}/a.tar") if isinstance(clip, Clip)]
    assert [clip.labels for clip in clips] == [("Dog",), ("Dog",), ("Dog",), ("Speech", "9999")]
    (tmp_path / "labels.txt").write_text("cow\npig\n")
    write_tar(tmp_path / "a.tar", {"x.json": b'{"label_id": 1}', "x.mp3": b""})
    (clip,) = read(f"wds:{tmp_path}/a.tar,labels={tmp_path}/labels.txt")
    assert isinstance(clip, Clip)
    assert clip.labels == ("pig",)


def test_what_is_incomplete_is_a_reject(tmp_path: Path) -> None:
    members = {
        "a.json": b"not json", "a.wav": b"x",
        "b.wav": b"x",
        "c.json": b'{"id": "C"}', "c.wav": b"x",
        "d.json": b'{"label": "Dog", "id": "D"}',
        "e.json": b'{"label": "Dog"}', "e.wav": b"x",
    }  # fmt: skip
    odd = {"f": b'{"label": "Dog", "id": "\\ud800"}', "g": b"[" * 100_000, "h": b'{"label": "Dog", "id": null}'}
    for name, data in odd.items():
        members |= {f"{name}.json": data, f"{name}.wav": b"x"}
    write_tar(tmp_path / "a.tar", members)
    found = read(f"wds:{tmp_path}/a.tar")
    assert [item.source_id for item in found] == ["a", "b", "c", "D", "e", "f", "g", "h"]
    assert [isinstance(item, Reject) for item in found] == [True, True, True, True, False, True, True, False]
    assert isinstance(found[3], Reject)
    assert found[3].reason.startswith("no audio beside its JSON")


def test_splits_by_path_else_by_hash(tmp_path: Path) -> None:
    for name in ("train", "eval"):
        (tmp_path / name).mkdir()
        write_wds(tmp_path / name, 20, "shard")
    places = [clip.place for clip in read(f"wds:{tmp_path},val=0.3") if isinstance(clip, Clip)]
    assert places.count("test") == 80
    assert 10 < places.count("val") < 40
    write_wds(tmp_path / "train", 1, "shard-valid")
    places = [clip.place for clip in read(f"wds:{tmp_path},val=0.3") if isinstance(clip, Clip)]
    assert (places.count("train"), places.count("val"), places.count("test")) == (80, 4, 80)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no \*\.tar at"):
        open_source(f"wds:{tmp_path}/x-{{000..003}}.tar")
    write_wds(tmp_path, 1)
    with pytest.raises(UserError, match="did you mean val="):
        open_source(f"wds:{tmp_path},vla=0.1")
    with pytest.raises(UserError, match="there is no file of labels at"):
        open_source(f"wds:{tmp_path},labels={tmp_path}/none.txt")
    for data, words in ((b"\xff", "is not UTF-8 text"), (b"a\na\n", "each once"), (b"", "needs a label a line")):
        (tmp_path / "labels.txt").write_bytes(data)
        with pytest.raises(UserError, match=words):
            open_source(f"wds:{tmp_path},labels={tmp_path}/labels.txt")
    with pytest.raises(UserError, match=r"val=7 is not a share"):
        open_source(f"wds:{tmp_path},val=7")
