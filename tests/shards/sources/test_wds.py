"""webdataset shards of audio: labels by name, MID or number, splits by path or hash, a reason for each reject."""

import gzip
import io
import json
import re
import tarfile
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.labels import audioset
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import open_source


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            add(tar, name, data)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
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


REASONS: dict[str, tuple[dict[str, bytes], str]] = {
    "a": ({"json": b'{"label": "Dog",}', "wav": b"x"}, "its JSON is broken: .* line 1 column"),
    "b": ({"wav": b"x", "txt": b"dog"}, "no JSON beside its sound; there is wav"),
    "c": ({"json": b'{"tag": "C", "text": 1}', "wav": b"x"}, "neither label nor label_id; it has tag, text"),
    "d": ({"json": b'{"label": "Dog"}'}, "no audio beside its JSON; there is json"),
    "f": ({"json": b'{"label": "Dog", "id": "\\ud800"}', "wav": b"x"}, "its id .* is no text"),
    "g": ({"json": b"[" * 100_000, "wav": b"x"}, "nested too deep"),
    "h": ({"json": b'{"label": null}', "wav": b"x"}, r"its label is 'None' \(NoneType\), not the name of a label"),
    "i": ({"json": b'{"label_id": "5"}', "wav": b"x"}, r"its label_id is '5' \(str\), not a whole number"),
    "j": ({"json": b'{"label_id": 5.0}', "wav": b"x"}, r"its label_id is '5.0' \(float\), not a whole number"),
    "k": ({"json": b'["Dog"]', "wav": b"x"}, "not an object with label or label_id"),
    "l": ({"json": '{"label": "Caf\xe9"}'.encode("latin-1"), "wav": b"x"}, "not UTF-8 text: .* at byte 14"),
    "m": ({"cls": b"dog", "wav": b"x"}, "its .cls holds 'dog', not the number of a label"),
}


def test_each_cause_has_a_reason_of_its_own(tmp_path: Path) -> None:
    members = {f"{key}.{ending}": data for key, (parts, _) in REASONS.items() for ending, data in parts.items()}
    members |= {"good.json": b'\xef\xbb\xbf{"label": "Dog", "id": null}', "good.wav": b"x"}
    members |= {"number.cls": b"67\n", "number.wav": b"x"}
    write_tar(tmp_path / "s.tar", members)
    found = {item.source_id: item for item in read(f"wds:{tmp_path}/s.tar")}
    assert set(found) == {*REASONS, "good", "number"}
    for key, (_, words) in REASONS.items():
        reject = found[key]
        assert isinstance(reject, Reject)
        assert re.search(words, reject.reason), reject.reason
    assert isinstance(found["good"], Clip)
    assert isinstance(number := found["number"], Clip)
    assert number.labels == (audioset().names[67],)


def test_members_of_a_sample_may_stand_anywhere(tmp_path: Path) -> None:
    keys = [f"dir.1/x.{number}" for number in range(4)]
    orders = {
        "beside": [f"{key}.{ending}" for key in keys for ending in ("json", "wav")],
        "labels first": [f"{key}.{ending}" for ending in ("json", "wav") for key in keys],
        "sounds first": [f"{key}.{ending}" for ending in ("wav", "json") for key in reversed(keys)],
        "split by a Mac": [f"{part}{key}.{e}" for key in keys for e in ("json", "wav") for part in ("", "__MACOSX/")],
    }
    for name, members in orders.items():
        write_tar(tmp_path / f"{name}.tar", {m: b'{"label": "Dog"}' if "json" in m else m.encode() for m in members})
        clips = read(f"wds:{tmp_path}/{name}.tar")
        assert sorted(clip.source_id for clip in clips) == keys, name
        sounds = {clip.source_id: clip.sound() for clip in clips if isinstance(clip, Clip)}
        assert sounds == {key: f"{key}.wav".encode() for key in keys}


def test_members_of_one_name_are_two_clips_of_one_key(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("a.wav", "a.json", "a.wav", "a.json", "b.json", "b.wav", "c.wav", "c.wav", "c.json", "c.json"):
            add(tar, name, b'{"label": "Dog"}' if name.endswith("json") else b"x")
    assert Counter(item.source_id for item in read(f"wds:{tmp_path}/s.tar")) == {"a": 2, "b": 1, "c": 2}


@pytest.mark.parametrize("ending", ["WAV", "wave", "aiff", "oga", "opus", "m4a", "webm"])
def test_endings(ending: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", {"a.json": b'{"label": "Dog"}', f"a.{ending}": b"x"})
    (clip,) = read(f"wds:{tmp_path}/s.tar")
    assert isinstance(clip, Clip)


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_compressed_shards_under_any_name(compression: str, tmp_path: Path) -> None:
    for name in (f"a.tar.{compression}", "b.tar"):
        with tarfile.open(tmp_path / name, f"w:{compression}") as tar:  # type: ignore[call-overload]
            add(tar, "x.json", b'{"label": "Dog"}')
            add(tar, "x.wav", b"x")
    assert [item.source_id for item in read(f"wds:{tmp_path}")] == ["a/x", "b/x"]


def test_links(tmp_path: Path) -> None:
    """GNU tar stores the second of two files that share their bytes as a hard link."""
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "a.json", b'{"label": "Dog"}')
        add(tar, "a.wav", b"sound of a")
        for name, kind, target in (
            ("b.json", tarfile.LNKTYPE, "a.json"), ("b.wav", tarfile.LNKTYPE, "a.wav"),
            ("c.json", tarfile.LNKTYPE, "a.json"), ("c.wav", tarfile.LNKTYPE, "none.wav"),
            ("d.json", tarfile.LNKTYPE, "a.json"), ("d.wav", tarfile.SYMTYPE, "a.wav"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    a, b, c, d = read(f"wds:{tmp_path}/s.tar")
    assert isinstance(a, Clip)
    assert isinstance(b, Clip)
    assert a.sound() == b.sound() == b"sound of a"
    assert c == Reject("c", "a hard link to 'none.wav', which is not in the archive before it")
    assert d == Reject("d", "a symbolic link to 'a.wav', not a file")


def test_a_member_that_claims_too_much_is_a_reject(tmp_path: Path) -> None:
    """GNU's sparse format: a member of one block that stands for a terabyte of zeros."""
    member = tarfile.TarInfo("a.wav")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\000000000000\0"
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        add(tar, "a.json", b'{"label": "Dog"}')
    data = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(data[:1024] + bytes(header) + bytes(1024))
    (reject,) = read(f"wds:{tmp_path}/s.tar")
    assert reject == Reject("a", f"{1 << 40} bytes in an archive; at most {1 << 28} are read")


def damaged(kind: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(8):
            add(tar, f"{number}.json", b'{"label": "Dog"}')
            add(tar, f"{number}.wav", bytes(600))
    data = bytearray(file.getvalue())
    member = 5 * (1024 + 1536)  # the header of 5.json: one block and its data, then one block and two
    if kind == "checksum":
        data[member + 148] ^= 1
    elif kind == "zeroed header":
        data[member : member + 512] = bytes(512)
    elif kind == "cut at a member":
        del data[member:]
    elif kind == "cut in a header":
        del data[member + 100 :]
    elif kind == "cut in a member":
        del data[member + 1024 + 600 :]
    elif kind == "zeros":
        data[:] = bytes(len(data))
    elif kind == "no end":
        data = data.rstrip(b"\0") + bytes(1024 - 600 % 512)
        del data[8 * (1024 + 1536) :]
    return bytes(data)


@pytest.mark.parametrize(
    "kind", ["checksum", "zeroed header", "cut at a member", "cut in a header", "cut in a member", "zeros", "no end"]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_fails_its_task_after_what_comes_before(kind: str, compressed: bool, tmp_path: Path) -> None:
    data = damaged(kind)
    (tmp_path / "s.tar").write_bytes(gzip.compress(data) if compressed else data)
    found: list[Clip | Reject] = []
    source = open_source(f"wds:{tmp_path}/s.tar")
    with pytest.raises(tarfile.ReadError) as failed:
        found.extend(source.clips(*source.tasks()))
    assert "\n" not in str(failed.value)
    assert len(found) >= {"zeros": 0, "no end": 7}.get(kind, 4)


def test_an_undamaged_archive_ends_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(damaged("not at all"))
    assert len(read(f"wds:{tmp_path}/s.tar")) == 8


def test_equal_stems_in_two_shards_are_two_clips_and_equal_ids_are_not(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for shard in range(2):
            members = {}
            for stem, about in {"000": {}, "-UGmleOV42Y": {}, "named": {"id": "one"}}.items():
                members[f"{stem}.json"] = json.dumps(about | {"label": "Dog"}).encode()
                members[f"{stem}.wav"] = b"x"
            write_tar(tmp_path / folder / f"s{shard}.tar", members)
    ids = Counter(item.source_id for item in read(f"wds:{tmp_path}/a"))
    assert ids == {"s0/000": 1, "s1/000": 1, "-UGmleOV42Y": 2, "one": 2}
    ids = Counter(item.source_id for item in read(f"wds:{tmp_path}"))
    assert {f"{folder}/s{shard}/000": 1 for folder in "ab" for shard in range(2)}.items() <= ids.items()


def test_lists_of_labels(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"x.json": b'{"label_id": 1}', "x.wav": b""})
    lists = {
        "labels.txt": "Outside, urban or manmade\nDog\n",
        "by-index.csv": 'index,mid,display_name\n1,/m/0bt9lr,Dog\n0,/m/x,"Outside, urban or manmade"\n',
        "table.txt": "index,label\n0,cow\n1,Dog\n",
        "one.csv": "label\ncow\nDog\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        (clip,) = read(f"wds:{tmp_path}/a.tar,labels={tmp_path}/{name}")
        assert isinstance(clip, Clip)
        assert clip.labels == ("Dog",), name
    (tmp_path / "labels.csv").write_text("mid,text\n/m/x,cow\n")
    with pytest.raises(UserError, match="is a CSV table without a column display_name"):
        open_source(f"wds:{tmp_path}/a.tar,labels={tmp_path}/labels.csv")
    (tmp_path / "labels.csv").write_text("index,label\n1,cow\n2,dog\n")
    with pytest.raises(UserError, match="column index does not number the labels from 0"):
        open_source(f"wds:{tmp_path}/a.tar,labels={tmp_path}/labels.csv")
    accents = unicodedata.normalize("NFD", "café"), unicodedata.normalize("NFC", "café")
    (tmp_path / "labels.txt").write_text(f"cow\n{accents[0]}\n")
    write_tar(tmp_path / "a.tar", {"x.json": json.dumps({"label": accents[1]}).encode(), "x.wav": b""})
    source = open_source(f"wds:{tmp_path}/a.tar,labels={tmp_path}/labels.txt")
    (clip,) = source.clips(*source.tasks())
    assert isinstance(clip, Clip)
    assert clip.labels[0] in source.labels


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
    with pytest.raises(UserError, match=r"there is no \*\.tar or \*\.tgz at"):
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
