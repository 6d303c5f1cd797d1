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
