"""`hf:` reads what the datasets package writes: parquet with an `audio` column, and audiofolders."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import open_source
from tests.shards.sources.servers import serve_hub
from tests.shards.sources.test_folders import as_csv, clips_of, put

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read(spec: str) -> list[Clip | Reject]:
    source = open_source(spec)
    return [item for task in source.tasks() for item in source.clips(task)]


def write(file: Path, rows: list[tuple[Any, Any]], column: str = "label", names: list[str] | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    audio = pa.array([row[0] for row in rows], AUDIO)
    table = pa.table({"audio": audio, column: [row[1] for row in rows], "take": [0] * len(rows)})
    if names:
        features = {"audio": {"_type": "Audio"}, column: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, file)


def sound(data: bytes) -> dict[str, Any]:
    return {"bytes": data, "path": "x.wav"}


def test_numbers_stand_for_the_names_of_the_features(tmp_path: Path) -> None:
    for split, word in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = [(sound(split.encode()), 1), (sound(b"x"), 0)]
        write(tmp_path / "data" / f"{word}-00000-of-00001.parquet", rows, names=["cat", "dog"])
    source = open_source(f"hf:{tmp_path}")
    assert source.labels == ("cat", "dog")
    assert source.notes == ["columns not used: take"]  # type: ignore[attr-defined]
    clips = [clip for clip in read(f"hf:{tmp_path}") if isinstance(clip, Clip)]
    assert len({clip.key for clip in clips}) == len(clips) == 6
    assert {(clip.place, clip.labels, clip.sound()) for clip in clips if clip.labels == ("dog",)} == {
        (split, ("dog",), split.encode()) for split in ("train", "val", "test")
    }


def test_names_and_lists_of_names(tmp_path: Path) -> None:
    write(
        tmp_path / "a.parquet", [(sound(b"x"), ["dog", "cat"]), (sound(b"y"), []), (sound(b"z"), None)], column="labels"
    )
    clips = [clip for clip in read(f"hf:{tmp_path}") if isinstance(clip, Clip)]
    assert open_source(f"hf:{tmp_path}").labels == ("cat", "dog")
    assert [clip.labels for clip in clips] == [("dog", "cat"), (), ()]


def test_rows_without_sound_are_rejects(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [(None, "dog"), ({"bytes": None, "path": "/x.wav"}, "dog"), (sound(b""), "dog")])
    nothing, path, empty = read(f"hf:{tmp_path}")
    assert nothing == Reject("test-00000/0", "the table holds no sound, nothing in its place")
    assert path == Reject("test-00000/1", "the table holds no sound, only its path '/x.wav'")
    assert isinstance(empty, Clip)


def test_a_split_is_drawn_where_no_file_names_one(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [(sound(b"x"), "dog")] * 400)
    write(tmp_path / "more.parquet", [(sound(b"x"), "dog")] * 400)
    places = [clip.place for clip in read(f"hf:{tmp_path}") if isinstance(clip, Clip)]
    assert 20 < places[:400].count("test") < 400
    assert set(places) == {"train", "val", "test"}
    assert any("was drawn" in note for note in open_source(f"hf:{tmp_path}").notes)  # type: ignore[attr-defined]


def test_audiofolders(tmp_path: Path) -> None:
    put(tmp_path, "train/dog/0.wav", "test/cat/1.wav")
    assert clips_of(f"hf:{tmp_path}") == clips_of(f"folder:{tmp_path}")
    lines = ("train/dog/0.wav,dog,train", "test/cat/1.wav,cat,test")
    expected = clips_of(as_csv(tmp_path, "path,label,split", *lines))
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label,split", *lines]))
    assert clips_of(f"hf:{tmp_path}") == expected
    (tmp_path / "metadata.csv").unlink()
    values = [dict(zip(("file_name", "label", "split"), line.split(","), strict=True)) for line in lines]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, values)))
    assert clips_of(f"hf:{tmp_path}") == expected


def test_an_audiofolder_with_a_list_in_each_split(tmp_path: Path) -> None:
    put(tmp_path, "train/0.wav", "train/a/1.wav", "test/0.wav")
    lines = ("train/0.wav,dog,train", "train/a/1.wav,cat,train", "test/0.wav,cat,test")
    expected = clips_of(as_csv(tmp_path, "path,label,split", *lines))
    (tmp_path / "train" / "metadata.csv").write_text("file_name,label\n0.wav,dog\na/1.wav,cat\n")
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "0.wav", "label": "cat"}\n')
    assert clips_of(f"hf:{tmp_path}") == expected


def test_a_torn_file_fails_its_task_alone(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [(sound(b"x"), "dog")] * 3)
    write(tmp_path / "test.parquet", [(sound(b"x"), "cat")] * 3)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "train.parquet").read_bytes()[:-20])
    source = open_source(f"hf:{tmp_path}")
    torn, *whole = source.tasks()
    assert source.labels == ("cat", "dog")
    assert torn.clips is None
    with pytest.raises(OSError, match=r"a\.parquet is no parquet file"):
        list(source.clips(torn))
    assert [len(list(source.clips(task))) for task in whole] == [3, 3]


def test_a_data_set_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own client, against a server that answers as the hub does."""
    from huggingface_hub import constants

    for word in ("train", "test"):
        write(
            tmp_path / "data" / f"{word}-00000-of-00001.parquet", [(sound(word.encode()), "dog"), (sound(b"x"), "cat")]
        )
    with serve_hub(tmp_path, "me/sounds") as served:
        monkeypatch.setattr(constants, "ENDPOINT", served)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{served}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        found = {(clip.labels, clip.place, clip.sound()) for clip in read("hf:me/sounds") if isinstance(clip, Clip)}
    local = {(clip.labels, clip.place, clip.sound()) for clip in read(f"hf:{tmp_path}") if isinstance(clip, Clip)}
    assert len(found) == 4
    assert found == local


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a folder nor a data set's name"):
        open_source(f"hf:{tmp_path}/none at all")
    with pytest.raises(UserError, match="holds no sound in subfolders"):
        open_source(f"hf:{tmp_path}")
    pyarrow.parquet.write_table(pa.table({"audio": ["a.wav"], "label": ["dog"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"column audio is string; it must hold the bytes"):
        open_source(f"hf:{tmp_path}")
    write(tmp_path / "a.parquet", [(sound(b"x"), "dog")], column="text")
    with pytest.raises(UserError, match=r"has no column labels or label or .*; it has audio, text, take"):
        open_source(f"hf:{tmp_path}")
