"""Sources list every clip once, in an order that the list's lines do not decide, and say what is wrong with a list."""

import os
import random
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.errors import ClipError, UserError
from audio_tokens.shards.sources.clip import KEY, Clip, Reject, path_key
from audio_tokens.shards.sources.listed import TASK_CLIPS, ListedClips
from audio_tokens.shards.sources.registry import Task, first_clips, open_source, split_options


def clips_of(spec: str) -> list[Clip | Reject]:
    source = open_source(spec)
    return [item for task in source.tasks() for item in source.clips(task)]


@pytest.fixture
def esc(tmp_path: Path) -> Path:
    (tmp_path / "meta").mkdir()
    (tmp_path / "audio").mkdir()
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in (2, 1):
        for number in range(3):
            name = f"{fold}-{number}-A-{number * 10}"
            lines.append(f"{name}.wav,{fold},{number * 10},class {number},True,src{number // 2},A")
            (tmp_path / "audio" / f"{name}.{('flac', 'ogg', 'wav')[number]}").write_bytes(name.encode())
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_esc50_has_the_published_folds_and_groups_and_any_audio_format(esc: Path) -> None:
    source = open_source(f"esc50:{esc}")
    assert source.labels == ("class 0", "class 1", "class 2")
    clips = [clip for clip in clips_of(f"esc50:{esc}") if isinstance(clip, Clip)]
    assert len(clips) == 6
    assert {clip.place for clip in clips} == {"fold-1", "fold-2"}
    for clip in clips:
        stem = clip.source_id.split(".")[0]
        fold, number, _, target = stem.split("-")
        assert (clip.place, clip.labels, clip.group) == (f"fold-{fold}", (f"class {number}",), f"src{int(number) // 2}")
        assert clip.sound() == stem.encode()
        assert int(target) == 10 * int(number)


def test_esc10_as_published(data_dir: Path) -> None:
    clips = [clip for clip in clips_of(f"esc50:{data_dir}/esc10") if isinstance(clip, Clip)]
    assert len(clips) == len({clip.key for clip in clips}) == 400
    assert [sum(clip.place == f"fold-{fold}" for clip in clips) for fold in range(1, 6)] == [80] * 5
    assert len({clip.group for clip in clips}) < 400
    assert {clip.group for clip in clips if clip.place == "fold-1"}.isdisjoint(
        clip.group for clip in clips if clip.place != "fold-1"
    )


def write_list(folder: Path, *lines: str, header: str = "path,labels,split") -> str:
    (folder / "list.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return f"csv:{folder}/list.csv"


def test_a_csv_list_says_it_all(tmp_path: Path) -> None:
    spec = write_list(
        tmp_path,
        "a/x.1.wav,dog; cat,train,",
        "a/x.2.wav,,val,g",
        '"b, c.wav",bird,test,g',
        header="path,labels,split,group",
    )
    source = open_source(spec)
    assert source.labels == ("bird", "cat", "dog")
    found = {clip.source_id: clip for clip in clips_of(spec) if isinstance(clip, Clip)}
    assert set(found) == {"a/x.1.wav", "a/x.2.wav", "b, c.wav"}
    assert found["a/x.1.wav"].labels == ("dog", "cat")
    assert found["a/x.2.wav"].labels == ()
    assert [found[name].place for name in sorted(found)] == ["train", "val", "test"]
    assert [found[name].group for name in sorted(found)] == ["a/x.1.wav", "g", "g"]
    assert len({clip.key for clip in found.values()}) == 3


def test_the_order_of_a_list_does_not_matter_and_one_task_has_one_place(tmp_path: Path) -> None:
    lines = [f"{number}.wav,l{number % 7},{('train', 'val', 'test')[number % 3]}" for number in range(3 * TASK_CLIPS)]
    tasks = open_source(write_list(tmp_path, *lines)).tasks()
    random.Random(0).shuffle(lines)
    assert open_source(write_list(tmp_path, *lines)).tasks() == tasks
    assert all(len({row.place for row in task.work}) == 1 for task in tasks)
    assert sum(task.clips or 0 for task in tasks) == len(lines)


def test_a_row_without_a_path_is_a_reject_and_a_missing_file_is_found_out_later(tmp_path: Path) -> None:
    missing, nameless = sorted(clips_of(write_list(tmp_path, ",dog,train", "no.wav,dog,train")), key=str)
    assert nameless == Reject("", "no path in the list")
    assert isinstance(missing, Clip)
    with pytest.raises(FileNotFoundError):
        missing.sound()


def test_two_spellings_of_one_path_are_one_key(tmp_path: Path) -> None:
    one, two = clips_of(write_list(tmp_path, "a//b.wav,dog,train", "./a/b.wav,dog,train"))
    assert isinstance(one, Clip)
    assert isinstance(two, Clip)
    assert one.key == two.key


MISTAKES = {
    "no list": ("csv:{folder}/none.csv", "none.csv"),
    "no folder": ("esc50:{folder}/none", "none"),
    "not the layout": ("esc50:{folder}", "needs audio/ and meta/esc50.csv"),
    "kind": ("esc5:{folder}", "did you mean esc50:?"),
    "no colon": ("{folder}", "known: soundscapes:"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str, tmp_path: Path) -> None:
    spec, words = MISTAKES[name]
    with pytest.raises(UserError) as caught:
        open_source(spec.format(folder=tmp_path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


LISTS = {
    "path,labels,split,fold": ("a.wav,dog,train,1", "needs a column split or fold, one of them"),
    "noise,labels,split": ("a.wav,dog,train", "lacks the column path; it has noise, labels, split"),
    "path,label,label,split": ("a.wav,dog,cat,train", "has 2 columns label; which one counts?"),
    "path,label,split": (
        "a.wav,Child speech, kid speaking,train",
        "line 2 has more values than there are columns, 'train' for one; a value that holds the delimiter stands in q",
    ),
    "path,labels,start,end,split": ("a.wav,dog,2,1,train", "line 2: it is -1 s long; a clip has a duration above 0"),
    "path,labels,split": ("a.wav,dog,rest", "line 2: split 'rest' is none of train, val, test"),
    "path,labels,split,group": (
        "a.wav,dog,train,g\na.wav,dog,val,g",
        "'a.wav' is listed for more than one split: train, val",
    ),
    "path,labels,group,split": ("a.wav,dog,g,train\na.wav,cat,h,train", "more than one group: g, h"),
    "path,labels,offset,split": ("a.wav,dog,-1,train", "line 2: offset '-1' is no number of seconds"),
    "path,labels,duration,split": ("a.wav,dog,0,train", "line 2: it is 0 s long; a clip has a duration above 0"),
    "path,labels,fold": ("a.wav,dog,one", "line 2: fold 'one' is not a number"),
    "path, labels, split": ("", "lists no clip"),
    "path,labels, fold": (f"a.wav,dog,{'9' * 5000}", "line 2: fold '99999999999999999999' is not a number"),
}


@pytest.mark.parametrize(
    "header",
    ["path,offset,duration,label", "file,start,end,class", "fname,onset,offset,event_label", "wav,start_s,end_s,tags"],
)
def test_the_part_of_a_recording_under_any_names(header: str, tmp_path: Path) -> None:
    third = "2.5" if "duration" in header else "4"
    (clip,) = clips_of(write_list(tmp_path, f"a.wav,1.5,{third},dog", header=header))
    assert isinstance(clip, Clip)
    assert (clip.source_id, clip.part, clip.labels) == ("a.wav@1.5+2.5", (1.5, 2.5), ("dog",))


def test_times_of_what_is_cut_out_already_are_left_alone(tmp_path: Path) -> None:
    """UrbanSound8K's list."""
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
    (clip,) = clips_of(write_list(tmp_path, "7-1.wav,7,2.0,4.0,1,5,3,dog_bark", header=header))
    assert isinstance(clip, Clip)
    assert (clip.part, clip.place, clip.labels) == (None, "fold-5", ("dog_bark",))


def test_folds_and_names_as_people_write_them(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(b"x")
    folds = ("1", "2.0", "fold3", "Fold_4")
    lines = [f"{number},dog,{fold}" for number, fold in enumerate(folds)]
    found = clips_of(write_list(tmp_path, *lines, header="path,labels,fold"))
    assert [clip.place for clip in found if isinstance(clip, Clip)] == [f"fold-{number}" for number in range(1, 5)]
    assert [clip.sound() for clip in found if isinstance(clip, Clip)] == [b"x"] * 4  # listed without their ending
    (clip,) = clips_of(write_list(tmp_path, f"file://{tmp_path}/0.wav,dog", header="path,label"))
    assert isinstance(clip, Clip)
    assert clip.sound() == b"x"


def test_paths_that_no_file_can_have_are_rejects(tmp_path: Path) -> None:
    source = open_source(write_list(tmp_path, f"a\0b.wav,dog,train\n{'x' * 300}.wav,dog,train"))
    reasons = []
    for task in source.tasks():
        for clip in source.clips(task):
            assert isinstance(clip, Clip)
            with pytest.raises(ClipError) as refused:
                clip.sound()
            reasons.append(str(refused.value))
    assert reasons == ["no path: embedded null byte", "file name too long"]


@pytest.mark.parametrize("header", LISTS)
def test_what_is_wrong_with_a_list_is_named(header: str, tmp_path: Path) -> None:
    line, words = LISTS[header]
    with pytest.raises(UserError) as caught:
        open_source(write_list(tmp_path, line, header=header))
    assert words in str(caught.value)


def test_a_list_as_people_write_them(tmp_path: Path) -> None:
    expected = [("a.wav", ("dog", "big cat"), "train"), ("b.wav", ("dog",), "val"), ("c.wav", (), "test")]
    written = {
        "excel": "\ufeffpath,labels,split,\r\na.wav,dog;big cat,train,\r\n,,,\r\nb.wav,dog,val\r\n\r\nc.wav,,test\r\n",
        "tabs": "Filename\tClass\tSplit\na.wav\tdog;big cat\tTraining\nb.wav\tdog\tdev\nc.wav\t\teval\n",
        "semicolons": 'file;label;split\na.wav;"dog;big cat";train\nb.wav;dog;valid\nc.wav;;test\n',
        "spaces": "path, labels, split\na.wav, dog; big cat , train\n   \nb.wav, dog, validation\nc.wav, , test\n",
        "quoted": 'path,labels,split\n"a.wav","dog;big cat",train\n"b.wav","dog",val\n"c.wav","",test\n',
    }
    for name, text in written.items():
        for encoding in ("utf-8", "utf-16"):
            (tmp_path / "list.csv").write_bytes(text.removeprefix("\ufeff" * (encoding == "utf-16")).encode(encoding))
            clips = [clip for clip in clips_of(f"csv:{tmp_path}/list.csv") if isinstance(clip, Clip)]
            assert sorted((clip.source_id, clip.labels, clip.place) for clip in clips) == expected, (name, encoding)


def notes_of(spec: str) -> list[str]:
    source = open_source(spec)
    assert isinstance(source, ListedClips)
    return source.notes


def test_rows_of_one_clip_are_merged_and_equal_rows_are_duplicates(tmp_path: Path) -> None:
    spec = write_list(tmp_path, "a.wav,dog,train", "a.wav,cat,train", "b.wav,dog,train", "b.wav,dog,train")
    clips = [clip for clip in clips_of(spec) if isinstance(clip, Clip)]
    assert [(clip.source_id, clip.labels) for clip in clips] == [
        ("a.wav", ("dog", "cat")),
        ("b.wav", ("dog",)),
        ("b.wav", ("dog",)),
    ]
    assert clips[1].key == clips[2].key
    assert notes_of(spec) == ["1 rows merged into others of the same clip, which got their labels"]


def test_text_that_looks_alike_is_alike(tmp_path: Path) -> None:
    composed, parted = (unicodedata.normalize(form, "Größe é") for form in ("NFC", "NFD"))
    (tmp_path / f"{parted}.wav").write_bytes(b"x")
    spec = write_list(tmp_path, f"{composed}.wav,{composed},train", f"b.wav,{parted},train")
    assert open_source(spec).labels == (composed,)
    clips = {clip.source_id: clip for clip in clips_of(spec) if isinstance(clip, Clip)}
    assert clips[f"{composed}.wav"].sound() == b"x"
    (tmp_path / f"{parted}.wav").rename(tmp_path / f"{composed}.wav")
    (clip,) = (clip for clip in clips_of(write_list(tmp_path, f"{parted}.wav,dog,train")) if isinstance(clip, Clip))
    assert (clip.sound(), clip.source_id) == (b"x", f"{composed}.wav")


def test_paths_of_other_systems_and_spaces_at_their_ends(tmp_path: Path) -> None:
    (tmp_path / "d ").mkdir()
    for name in (" lead.wav", "trail.wav ", "d /in.wav", "plain.wav"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "a.wav").write_bytes(b"a")
    quoted = ('" lead.wav"', '"trail.wav "', '"d /in.wav"', '" plain.wav "', "dogs\\a.wav")
    clips = clips_of(write_list(tmp_path, *(f"{name},dog,train" for name in quoted)))
    assert {clip.sound() for clip in clips if isinstance(clip, Clip)} == {
        b" lead.wav", b"trail.wav ", b"d /in.wav", b"plain.wav", b"a",
    }  # fmt: skip
    (missing,) = clips_of(write_list(tmp_path, '"d /none.wav",dog,train'))
    assert isinstance(missing, Clip)
    with pytest.raises(FileNotFoundError, match="there is a space at an end of its name"):
        missing.sound()


def test_a_split_is_drawn_by_group_where_the_list_has_none(tmp_path: Path) -> None:
    lines = [f"{number}.wav,l{number % 3},g{number // 4},x" for number in range(200)]
    spec = write_list(tmp_path, *lines, header="path,labels,group,take")
    clips = [clip for clip in clips_of(spec) if isinstance(clip, Clip)]
    places = Counter(clip.place for clip in clips)
    assert {place: abs(places[place] - n) <= 4 for place, n in {"train": 140, "val": 20, "test": 40}.items()} == {
        "train": True, "val": True, "test": True,
    }  # fmt: skip
    assert len({(clip.group, clip.place) for clip in clips}) == 50
    assert notes_of(spec) == [
        "columns not used: take",
        f"the list names no split: one was drawn, by group where there is one: "
        f"{places['train']} train, {places['val']} val, {places['test']} test",
    ]
    random.Random(0).shuffle(lines)
    again = clips_of(write_list(tmp_path, *lines, header="path,labels,group,take"))
    assert {c.key: c.place for c in again if isinstance(c, Clip)} == {c.key: c.place for c in clips}


@pytest.mark.parametrize("clips", [1, 2, 3, 5])
def test_a_split_of_a_few_clips_trains_on_something(clips: int, tmp_path: Path) -> None:
    spec = write_list(tmp_path, *(f"{number}.wav,dog" for number in range(clips)), header="path,label")
    places = Counter(clip.place for clip in clips_of(spec) if isinstance(clip, Clip))
    assert places["train"] >= 1
    assert (places["test"] >= 1) == (clips > 1)
    assert (places["val"] >= 1) == (clips > 2)


def test_what_is_no_file_is_a_reject_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    for clip in clips_of(write_list(tmp_path, "pipe.wav,dog,train", "/dev/zero,dog,train")):
        assert isinstance(clip, Clip)
        with pytest.raises(ClipError, match="not a regular file"):
            clip.sound()
    (clip,) = clips_of(write_list(tmp_path, "folder.wav,dog,train"))
    assert isinstance(clip, Clip)
    with pytest.raises(IsADirectoryError):
        clip.sound()


def test_parts_of_a_recording(tmp_path: Path) -> None:
    rows = ("a.wav,dog,train,0,1.5", "a.wav,cat,train,1.5,2", "a.wav,dog,val,10,", "b.wav,dog,train,,")
    spec = write_list(tmp_path, *rows, header="path,labels,split,offset,duration")
    found = {clip.source_id: clip for clip in clips_of(spec) if isinstance(clip, Clip)}
    assert {name: clip.part for name, clip in found.items()} == {
        "a.wav@0+1.5": (0, 1.5), "a.wav@1.5+2": (1.5, 2), "a.wav@10": (10, None), "b.wav": None,
    }  # fmt: skip
    assert found["a.wav@1.5+2"].labels == ("cat",)
    assert {clip.group for clip in found.values()} == {"a.wav", "b.wav"}


@given(paths=st.lists(st.text(min_size=1), unique=True))
def test_keys_are_unique_and_safe_for_any_paths(paths: list[str]) -> None:
    keys = [path_key(path) for path in paths]
    assert len(set(keys)) == len(paths)
    assert all(KEY.fullmatch(key) and len(f"{key}.mel.npy.zst") <= 100 for key in keys)


@given(counts=st.lists(st.integers(1, 9), max_size=9), limit=st.integers(1, 60))
def test_a_limit_takes_the_first_clips(counts: list[int], limit: int) -> None:
    tasks = [Task(name=str(number), work=number, clips=count) for number, count in enumerate(counts)]
    head = first_clips(tasks, limit)
    assert sum(task.promised_clips or 0 for task in head) == min(limit, sum(counts))
    assert [task.work for task in head] == list(range(len(head)))


def test_options_of_a_source() -> None:
    assert split_options("100,clip_s=4", ("clip_s", "seed")) == ("100", {"clip_s": "4"})
    assert split_options("seed=3", ("clip_s", "seed")) == ("", {"seed": "3"})
    with pytest.raises(UserError, match="'clip=4' is unknown; did you mean clip_s="):
        split_options("100,clip=4", ("clip_s", "seed"))
