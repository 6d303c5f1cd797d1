"""AudioSet in both layouts, with every kind of bad clip, through the build command: each accounted for, rightly."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.audioset.segments import read_segments, segment_table
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import open_source
from tests.shards.sources.audio_sets import DOG, Listed, good_clips, odd_clips, write_parquet, write_tars
from tests.shards.sources.servers import serve
from tests.shards.tasks.toy_build import contents


@pytest.fixture(scope="module")
def clips(data_dir: Path) -> list[Listed]:
    return [*good_clips(data_dir / "esc10", 15), *odd_clips()]


def check(out: Path, clips: list[Listed]) -> None:
    rejects = list(map(json.loads, (out / "rejects.jsonl").read_text().splitlines()))
    dataset = Dataset.open(out)
    written = [sample.meta for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]
    assert len(written) + len(rejects) == len(clips)
    refused = [(clip.video_id, clip.reason) for clip in clips if clip.reason]
    assert sorted(reject["id"] for reject in rejects) == sorted(video_id for video_id, _ in refused)
    reasons = {reject["id"]: reject["reason"] for reject in rejects}
    for video_id, words in refused:
        assert words in reasons[video_id]
    assert sorted(meta["id"] for meta in written) == sorted(clip.video_id for clip in clips if not clip.reason)
    parts = {clip.video_id: clip.part for clip in reversed(clips)}
    for meta in written:
        assert (meta["place"] == "test") == (parts[meta["id"]] == "eval")
        assert meta["group"] == meta["id"]
    assert len(dataset.labels) == 527
    assert dataset.manifest["test_ids"]["clips"] == sum(clip.part == "eval" for clip in clips)


@pytest.mark.parametrize("layout", [write_parquet, write_tars])
def test_every_clip_is_accounted_for(layout, clips: list[Listed], tmp_path: Path) -> None:
    source = layout(tmp_path / "in", clips)
    assert cli.main(["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "2"]) == 0
    check(tmp_path / "s", clips)
    assert cli.main(["verify", str(tmp_path / "s")]) == 0


def test_both_layouts_give_the_same_clips(clips: list[Listed], tmp_path: Path) -> None:
    found = []
    for number, layout in enumerate((write_parquet, write_tars)):
        source = open_source(f"{layout(tmp_path / str(number), clips)},val=0.4")
        listed = [clip for task in source.tasks() for clip in source.clips(task)]
        found.append({(clip.key, clip.labels, clip.place, clip.sound()) for clip in listed})
    assert found[0] == found[1]
    assert {place for _, _, place, _ in found[0]} == {"train", "val", "test"}


@pytest.mark.parametrize("layout", [write_parquet, write_tars])
def test_a_subset_reads_no_file_in_vain(layout, clips: list[Listed], tmp_path: Path) -> None:
    spec = layout(tmp_path, clips)
    everything = {clip.video_id for clip in clips}
    balanced = {clip.video_id for clip in clips if clip.part != "unbal_train"}
    for subset, files, expected in (
        ("all", 3, everything),
        ("balanced", 2, balanced),
        ("balanced+1000", 3, everything),
    ):
        source = open_source(f"{spec},subset={subset}")
        assert len(source.tasks()) == files
        found = [clip for task in source.tasks() for clip in source.clips(task)]
        assert {clip.source_id for clip in found} == expected
    three = open_source(f"{spec},subset=3,seed=1")
    found = {clip.source_id for task in three.tasks() for clip in three.clips(task) if clip.place != "test"}
    assert len(found) == 3


def test_a_large_file_is_several_tasks_and_the_same_bytes(
    clips: list[Listed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(write_parquet(tmp_path / "in", clips))
    whole = source.tasks()
    monkeypatch.setattr("audio_tokens.shards.sources.audioset.audioset.TASK_ROWS", 8)
    parts = source.tasks()
    assert len(parts) > len(whole) == 3
    assert sum(task.clips for task in parts) == sum(task.clips for task in whole) == len(clips)
    assert [clip.key for task in parts for clip in source.clips(task)] == [
        clip.key for task in whole for clip in source.clips(task)
    ]


def test_a_torn_file_fails_its_task_and_the_rest_goes_on(
    clips: list[Listed], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_parquet(tmp_path / "in", clips)
    torn = tmp_path / "in" / "data" / "unbal_train" / "00.parquet"
    whole = torn.read_bytes()
    torn.write_bytes(whole[: len(whole) // 2])
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]
    assert cli.main(words) == 1
    assert "task '00.parquet' failed three times" in capsys.readouterr().err
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.tar")}
    torn.write_bytes(whole)
    assert cli.main(words) == 0  # the listing is another one now, in which what is finished still stands
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in finished.items())
    check(tmp_path / "s", clips)
    assert cli.main([*words[:4], str(tmp_path / "undisturbed"), *words[5:]]) == 0
    assert contents(tmp_path / "s") == contents(tmp_path / "undisturbed")


def test_a_file_of_other_columns_is_refused_before_anything_is_built(clips: list[Listed], tmp_path: Path) -> None:
    source = write_parquet(tmp_path, clips)
    file = tmp_path / "data" / "unbal_train" / "00.parquet"
    table = pyarrow.parquet.read_table(file)
    for column, values, words in (
        ("video_id", list(range(len(table))), "column video_id is int64"),
        ("labels", ["/m/0bt9lr"] * len(table), "column labels is string"),
        ("audio", [b""] * len(table), "column audio is binary"),
    ):
        number = table.schema.get_field_index(column)
        pyarrow.parquet.write_table(table.set_column(number, column, pa.array(values)), file)
        for subset in ("", ",subset=3"):
            with pytest.raises(UserError, match=f"{words}; this is not AudioSet's parquet layout"):
                open_source(source + subset).tasks()
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"a number of clips needs the ids in .*00\.parquet, which cannot be read"):
        open_source(f"{source},subset=3")


def test_segment_lists_as_people_save_them(clips: list[Listed], tmp_path: Path) -> None:
    source = write_tars(tmp_path, clips)
    file = tmp_path / "balanced_train_segments.csv"
    plain = file.read_bytes()

    def read() -> list[tuple[str, ...]]:
        segment_table.cache_clear()
        opened = open_source(source)
        found = [clip for task in opened.tasks() for clip in opened.clips(task)]
        return [(clip.key, *clip.labels) for clip in found if isinstance(clip, Clip)]

    expected = read()
    spaced = plain.replace(b"/m/0bt9lr", b" /m/0bt9lr ")
    for data in (b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), plain + b"\n\n", spaced):
        file.write_bytes(data)
        assert read() == expected
    for data, words in (
        (b"\xe4\xf6\n", "is not UTF-8 text"),
        (b"abc, nan, 10, x\n", "'abc,nan,10,x' is not YTID, start, end, labels"),
        (b"abc, 1\n", "'abc,1' is not YTID"),
        (b"abc, 1\rdef, 2\n", "is no CSV file: new-line character"),
    ):
        file.write_bytes(data)
        with pytest.raises(UserError, match=words):
            list(read_segments(str(file)))


def test_ids_that_make_no_key_and_labels_said_twice(clips: list[Listed], tmp_path: Path) -> None:
    good = next(clip for clip in clips if clip.reason is None)
    odd = ["a/b.c", "ü\n", "x" * 300, "x" * 90, "a b"]
    source = write_parquet(tmp_path / "in", [good._replace(video_id=name, mids=(DOG, DOG)) for name in odd])
    assert cli.main(["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]) == 0
    dataset = Dataset.open(tmp_path / "s")
    samples = [sample for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]
    assert sorted(sample.meta["id"] for sample in samples) == sorted(odd)
    assert all(len(sample.meta["labels"]) == 1 for sample in samples)
    assert sum(map(sum, dataset.manifest["label_counts"].values())) == len(odd)


def test_a_dry_run_names_a_file_that_cannot_be_read(
    clips: list[Listed], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_parquet(tmp_path, clips)
    (tmp_path / "data" / "unbal_train" / "00.parquet").write_bytes(b"PAR1")
    assert cli.main(["build", "--source", source, "--out", str(tmp_path / "s"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "task '00.parquet' fails: " in said
    assert "is no parquet file, or a damaged one" in said
    assert "binds" in said


@pytest.mark.parametrize("layout", [write_parquet, write_tars])
def test_built_over_http_it_is_the_same(layout, clips: list[Listed], tmp_path: Path) -> None:
    source = layout(tmp_path / "in", clips)
    with serve(tmp_path / "in") as served:
        for out, where in (("local", source), ("remote", f"audioset:{served.url}/")):
            assert cli.main(["build", "--source", where, "--out", str(tmp_path / out), "--workers", "2"]) == 0
    check(tmp_path / "remote", clips)
    local, remote = contents(tmp_path / "local"), contents(tmp_path / "remote")
    differing = {name for name in local if local[name] != remote.get(name)}
    assert differing == {"dataset.json", "integrity.json"}  # the one names its source, the other its hash


def test_it_is_built_the_same_twice(clips: list[Listed], tmp_path: Path) -> None:
    source = write_tars(tmp_path / "in", clips)
    for out in ("a", "b"):
        assert cli.main(["build", "--source", source, "--out", str(tmp_path / out), "--workers", "1"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
