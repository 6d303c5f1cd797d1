"""`folder:` and `manifest:` give the clips that a csv list of the same files and parts gives."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.listed import ListedClips
from audio_tokens.shards.sources.registry import open_source


def clips_of(spec: str) -> list[tuple[Any, ...]]:
    source = open_source(spec)
    found = [item for task in source.tasks() for item in source.clips(task)]
    assert all(isinstance(clip, Clip) for clip in found)
    return sorted((c.key, c.labels, c.place, c.group, c.part, c.sound()) for c in found if isinstance(c, Clip))


def as_csv(folder: Path, header: str, *lines: str) -> str:
    (folder / "list.csv").write_text("\n".join([header, *lines]) + "\n")
    return f"csv:{folder}/list.csv"


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def test_a_folder_of_classes(tmp_path: Path) -> None:
    files = [f"{sub}{number}.{ending}" for sub in ("", "x/") for number, ending in enumerate(("wav", "MP3", "m4a"))]
    names = [f"{label}/{file}" for label in ("dog", "big cat") for file in files]
    put(tmp_path, *names, "dog/notes.txt", ".git/x.wav", "dog/._0.wav")
    source = open_source(f"folder:{tmp_path}")
    assert source.labels == ("big cat", "dog")
    assert isinstance(source, ListedClips)
    assert source.notes[-1] == "1 files left out: they are no sound by their ending"
    assert "the list names no split: one was drawn" in source.notes[0]
    assert clips_of(f"folder:{tmp_path}") == clips_of(
        as_csv(tmp_path, "path,labels", *(f"{name},{name.split('/')[0]}" for name in names))
    )


def test_a_folder_of_splits(tmp_path: Path) -> None:
    put(tmp_path, *(f"{split}/{label}/0.wav" for split in ("train", "valid", "test") for label in "ab"))
    lines = (f"{split}/{label}/0.wav,{label},{split}" for split in ("train", "valid", "test") for label in "ab")
    assert clips_of(f"folder:{tmp_path}") == clips_of(as_csv(tmp_path, "path,labels,split", *lines))
    (tmp_path / "rest").mkdir()
    with pytest.raises(UserError, match="holds folders of splits and others: is 'rest' a class"):
        open_source(f"folder:{tmp_path}")


def test_folders_without_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        open_source(f"folder:{tmp_path}/none")
    with pytest.raises(UserError, match="holds no sound in subfolders named after classes"):
        open_source(f"folder:{tmp_path}")
    put(tmp_path, "a.wav", "b.wav", "dog/c.wav")
    with pytest.raises(UserError, match=r"'a\.wav' and 1 others lie in no folder of a class"):
        open_source(f"folder:{tmp_path}")


def cut(source: str, start: float, duration: float, label: str, whole_s: float = 10.0, **custom: str) -> dict[str, Any]:
    """A cut as lhotse's CutSet.to_jsonl writes it."""
    return {
        "id": f"cut-{start}",
        "start": start,
        "duration": duration,
        "channel": 0,
        "supervisions": [
            {"id": "s", "recording_id": "r", "start": 0.0, "duration": duration, "channel": 0, "text": label}
        ],
        "recording": {
            "id": "r",
            "sources": [{"type": "file", "channels": [0], "source": source}],
            "sampling_rate": 16000,
            "num_samples": int(16000 * whole_s),
            "duration": whole_s,
            "channel_ids": [0],
        },
        "custom": custom,
        "type": "MonoCut",
    }


def test_manifests_give_the_clips_of_a_csv_of_the_same_parts(tmp_path: Path) -> None:
    put(tmp_path, "r/a.wav", "r/b.wav", "r/c.wav")
    parts = [
        ("r/a.wav", 0.0, 2.5, "dog"),
        ("r/a.wav", 2.5, 1.25, "cat"),
        ("r/b.wav", 1.0, 9.0, "dog;cat"),
        ("r/c.wav", 0, 10.0, "cow"),
    ]
    lines = [f"{path},{start},{duration},{label},train" for path, start, duration, label in parts[:-1]]
    csv = as_csv(tmp_path, "path,offset,duration,labels,split", *lines, "r/c.wav,,,cow,train")
    names = ("audio_filepath", "offset", "duration", "label")
    nemo: list[dict[str, Any]] = [dict(zip(names, part, strict=True)) | {"split": "train"} for part in parts]
    for name in ("offset", "duration"):
        del nemo[-1][name]
    lhotse = [cut(*part, split="train") for part in parts]
    by_custom = [cut(path, start, duration, "nothing", split="train") for path, start, duration, _ in parts]
    for line, (_, _, _, label) in zip(by_custom, parts, strict=True):
        line["supervisions"][0]["custom"] = {"label": label.split(";")}
    for name, lines in {"nemo.json": nemo, "cuts.jsonl": lhotse, "custom.jsonl": by_custom}.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        for file in (name, f"{name}.gz"):
            assert clips_of(f"manifest:{tmp_path}/{file}") == clips_of(csv), file


MISTAKES = {
    "no manifest": (None, "there is no manifest"),
    "nothing": ("\n\n", "lists no clip"),
    "broken": ('{"audio_filepath": "a.wav", "label": "dog"}\n{"label": }\n', "line 2 is no JSON: Expecting value"),
    "no object": ("[1]\n", "line 1 is '[1]', not an object"),
    "no label": (
        '{"audio_filepath": "a.wav", "text": "dog"}\n',
        "lacks the column labels; it has audio_f",
    ),
    "offset": (
        '{"audio_filepath": "a.wav", "label": "dog", "offset": "x"}',
        "line 1: offset 'x' is no number of seconds",
    ),
    "no cut": ('{"recording": {}}', "line 1 is no cut of Lhotse's: KeyError 'sources'"),
    "mixed": ('{"id": "m", "tracks": [], "type": "MixedCut"}', "line 1 is a MixedCut, not a cut of one recording"),
    "recordings": (json.dumps(cut("x", 0, 1, "dog")["recording"]), "line 1 is a recording; lhotse's CutSet.from_man"),
    "one channel": (
        json.dumps(cut("x", 0, 1, "dog")).replace('"channel_ids": [0]', '"channel_ids": [0, 1]'),
        "line 1: it leaves out channel 1 of the recording",
    ),
    "speed": (
        json.dumps(cut("x", 0, 1, "dog")).replace('"num_samples"', '"transforms": [{"name": "Speed"}], "num_samples"'),
        "line 1: the recording is to be changed (Speed)",
    ),
    "in memory": (json.dumps(cut("x", 0, 1, "dog")).replace('"file"', '"memory"'), "of type 'memory', not a file"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_manifests_are_named(name: str, tmp_path: Path) -> None:
    text, words = MISTAKES[name]
    if text is not None:
        (tmp_path / "m.jsonl").write_text(text)
    with pytest.raises(UserError) as caught:
        open_source(f"manifest:{tmp_path}/m.jsonl")
    assert words in str(caught.value)


def test_folds_may_stand_above_the_classes_and_links_to_above_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path, "fold1/dog/a.wav", "fold2/dog/b.wav", "fold2/cat/c.wav")
    (tmp_path / "fold1" / "dog" / "loop").symlink_to(tmp_path)
    found = [(labels, place, name) for _, labels, place, name, *_ in clips_of(f"folder:{tmp_path}")]
    assert sorted(found) == [
        (("cat",), "fold-2", "fold2/cat/c.wav"),
        (("dog",), "fold-1", "fold1/dog/a.wav"),
        (("dog",), "fold-2", "fold2/dog/b.wav"),
    ]


def test_shards_that_lie_beside_the_sounds_are_no_sound(tmp_path: Path) -> None:
    """A build into a subfolder of its own source finds the same clips the second time."""
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.zeros(800, np.float32), 8000)
    before = open_source(f"folder:{tmp_path}").tasks()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "dataset.json").write_text("{}")
    (tmp_path / "shards" / "train-000000-000.tar").write_bytes(b"")
    assert open_source(f"folder:{tmp_path}").tasks() == before
    with pytest.raises(UserError, match=r"there is no \*\.tar"):
        open_source(f"wds:{tmp_path}").tasks()
