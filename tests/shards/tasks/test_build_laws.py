"""Laws of a build: no clip is lost, the same input gives the same bytes, and any death is survived."""

import fcntl
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.task import run_task
from audio_tokens.shards.tasks.task_folder import OtherContentError, is_recorded, locked, prepare, with_kept_numbers
from audio_tokens.shards.tasks.task_shards import ShardConfig
from tests.shards.tasks.toy_build import ToySource, ToyTransform, contents, listed, toy_build, toy_tasks


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "shards"
    assert toy_build(toy_tasks(folder), workers=1) == []
    return folder


def rejects_of(folder: Path) -> dict[str, str]:
    lines = (folder / "rejects.jsonl").read_text().splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines)}


def ids_of(folder: Path) -> list[str]:
    dataset = Dataset.open(folder)
    return [sample.meta["id"] for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]


def test_every_clip_is_written_or_rejected(undisturbed: Path) -> None:
    written, rejected = ids_of(undisturbed), rejects_of(undisturbed)
    assert sorted([*written, *rejected]) == sorted(f"clip {number}" for number in range(48))
    totals = Dataset.open(undisturbed).manifest["totals"]
    assert (totals["clips"], totals["rejected"]) == (len(written), len(rejected)) == (44, 4)


def test_the_folder_holds_what_the_manifest_lists_and_nothing_else(undisturbed: Path) -> None:
    listed = {shard.name for shard in Dataset.open(undisturbed).shards}
    assert set(contents(undisturbed)) == listed | {"clips.npz", "dataset.json", "integrity.json", "rejects.jsonl"}
    assert not (undisturbed / ".tasks").exists()


def test_a_shard_holds_one_place_and_no_more_than_its_caps(undisturbed: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(undisturbed)
    for index, shard in enumerate(dataset.shards):
        samples = list(dataset.read(index))
        assert {sample.meta["place"] for sample in samples} == {shard.place}
        assert len(samples) == shard.clips <= 5
        assert sum(len(sample.array_TF) for sample in samples) == shard.frames
    toy_build(toy_tasks(tmp_path / "s", config=ShardConfig(shard_bytes=12_000)), workers=1)
    capped = Dataset.open(tmp_path / "s")
    assert max(shard.bytes for shard in capped.shards) <= 12_000
    assert any(shard.clips > 1 for shard in capped.shards)
    assert capped.clips == dataset.clips


def test_two_workers_write_the_bytes_of_one(undisturbed: Path, tmp_path: Path) -> None:
    toy_build(toy_tasks(tmp_path / "s"), workers=2)
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_the_order_in_which_tasks_run_does_not_matter(undisturbed: Path, tmp_path: Path) -> None:
    job = toy_tasks(tmp_path / "s")
    prepare(job, listed(job), force=False)
    tasks = listed(job)
    for index, task in reversed(tasks):
        assert not commit(job, range(len(tasks)))
        run_task(job, index, task)
    assert commit(job, range(len(tasks)))
    assert contents(tmp_path / "s") == contents(undisturbed)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.builds(ToySource, tasks_count=st.integers(1, 3), task_clips=st.integers(1, 12), keys=st.integers(1, 40)),
    config=st.builds(ShardConfig, shard_clips=st.integers(1, 9), shard_bytes=st.integers(1, 40_000)),
    bad=st.sets(st.integers(0, 39)),
    order=st.randoms(use_true_random=False),
)
def test_nothing_is_lost_whatever_the_sizes_and_the_order(
    source: ToySource, config: ShardConfig, bad: set[int], order: random.Random, tmp_path: Path
) -> None:
    made = []
    for shuffled in (False, True):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        transform = ToyTransform(bad=tuple(f"-k{number}" for number in bad))
        job = toy_tasks(folder, source=source, transform=transform, config=config)
        prepare(job, listed(job), force=False)
        tasks = list(enumerate(source.tasks()))
        if shuffled:
            order.shuffle(tasks)
        counts = [run_task(job, index, task) for index, task in tasks]
        assert commit(job, range(len(tasks)))
        made.append(contents(folder))
    assert made[0] == made[1]
    clips_in = source.tasks_count * source.task_clips
    dataset = Dataset.open(folder)
    keys = [sample.key for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]
    assert len(keys) == len(set(keys)) == dataset.clips
    rejects = (folder / "rejects.jsonl").read_text().splitlines()
    assert dataset.clips + len(rejects) == clips_in == sum(count.clips for count in counts)
    assert all(shard.clips <= config.shard_clips for shard in dataset.shards)
    assert all(shard.bytes <= config.shard_bytes or shard.clips == 1 for shard in dataset.shards)


def test_a_clip_that_kills_its_decoder_costs_itself_and_nothing_else(undisturbed: Path, tmp_path: Path) -> None:
    transform = ToyTransform(segfault=("-k3", "-k4"), hang=("-k14",), leave=("-k41",), bad=("-k20",))
    assert toy_build(toy_tasks(tmp_path / "s", transform=transform, clip_timeout_s=2.0)) == []
    fallen = {
        "clip 3": "the decoder died of SIGSEGV",
        "clip 4": "the decoder died of SIGSEGV",
        "clip 14": "decoding took longer than 2 s",
        "clip 20": "sounds bad",
        "clip 41": "the decoder ended the process with code 3",
    }
    assert rejects_of(tmp_path / "s") == rejects_of(undisturbed) | fallen
    assert set(ids_of(tmp_path / "s")) == set(ids_of(undisturbed)) - set(fallen)


def test_a_worker_killed_from_outside_costs_no_clip(undisturbed: Path, tmp_path: Path) -> None:
    flags = tmp_path / "flags"
    flags.mkdir()
    transform = ToyTransform(killed=("-k2", "-k16", "-k33"), once=flags)
    assert toy_build(toy_tasks(tmp_path / "s", transform=transform)) == []
    assert len(list(flags.iterdir())) == 3
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_a_task_that_fails_for_good_is_reported_and_the_rest_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    job = toy_tasks(tmp_path / "s", transform=ToyTransform(fail=("-k15",)))
    (failure,) = toy_build(job)
    assert (failure.call[1].name, failure.reason) == ("from 12", "RuntimeError: a bug")
    assert [is_recorded(job, index) for index in range(4)] == [True, False, True, True]
    with pytest.raises(UserError, match="has not finished; the same `audio-tokens build` command resumes it"):
        Dataset.open(tmp_path / "s")
    assert toy_build(toy_tasks(tmp_path / "s")) == []  # the bug is mended
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_a_task_that_fails_once_is_tried_again(undisturbed: Path, tmp_path: Path) -> None:
    flags = tmp_path / "flags"
    flags.mkdir()
    assert toy_build(toy_tasks(tmp_path / "s", transform=ToyTransform(fail=("-k1", "-k30"), once=flags))) == []
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half_written(undisturbed: Path, tmp_path: Path) -> None:
    flags = tmp_path / "flags"
    flags.mkdir()
    job = toy_tasks(tmp_path / "s", transform=ToyTransform(full_disk=("-k26",), once=flags))
    with pytest.raises(UserError, match=r"no space left for .*; make room and run the same command again"):
        toy_build(job, workers=1)
    for name, sha256 in contents(tmp_path / "s").items():
        if name.endswith((".tar", ".npy")):
            assert contents(undisturbed)[name] == sha256
    assert toy_build(job, workers=1) == []
    assert contents(tmp_path / "s") == contents(undisturbed)


@pytest.mark.parametrize("keys", [20, 9, 4])  # met again in other tasks, and in the same one in another split
def test_of_equal_keys_the_first_in_listing_order_stays(keys: int, tmp_path: Path) -> None:
    source = ToySource(keys=keys)
    for workers in (1, 2):
        assert toy_build(toy_tasks(tmp_path / f"{workers}", source=source), workers=workers) == []
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    first: dict[int, int] = {}
    for number in range(48):
        if number % 11 != 7:
            first.setdefault(number % keys, number)
    written = ids_of(tmp_path / "1")
    assert sorted(written) == sorted(f"clip {number}" for number in first.values())
    dropped = [reason for reason in rejects_of(tmp_path / "1").values() if reason.startswith("duplicate key")]
    assert len(dropped) == 44 - len(first) > 0
    counts = Dataset.open(tmp_path / "1").manifest["label_counts"]
    dataset = Dataset.open(tmp_path / "1")
    for place in dataset.places:
        found = [0, 0, 0]
        for shard in dataset.shards_of(place):
            for sample in dataset.read(shard):
                for label in sample.meta["labels"]:
                    found[label] += 1
        assert counts[place] == found


@pytest.mark.parametrize("cut", ["write_manifest", "ShardMaker.sweep"])
def test_a_commit_cut_short_is_made_again(
    cut: str, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = toy_tasks(tmp_path / "s", source=ToySource(keys=20))
    reference = toy_tasks(tmp_path / "reference", source=ToySource(keys=20))
    toy_build(reference, workers=1)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"audio_tokens.shards.tasks.shard_maker.{cut}", die)
        with pytest.raises(KeyboardInterrupt):
            toy_build(job, workers=1)
    toy_build(job, workers=1)
    assert contents(job.folder) == contents(reference.folder)


def test_another_build_in_the_same_folder_is_refused_without_force(undisturbed: Path, tmp_path: Path) -> None:
    job, other = toy_tasks(tmp_path / "s"), toy_tasks(tmp_path / "s", source=ToySource(tasks_count=2))
    toy_build(other, workers=1)
    with pytest.raises(OtherContentError, match="holds finished work of another source or configuration"):
        prepare(job, listed(job), force=False)
    toy_build(job, workers=1, force=True)
    assert contents(tmp_path / "s") == contents(undisturbed)
    assert prepare(job, listed(job), force=False)  # complete: nothing to do
    assert prepare(job, listed(job), force=True)  # a job of an array that comes last
    shard = next((tmp_path / "s").glob("*.tar"))
    shard.write_bytes(bytes(shard.stat().st_size))
    assert not prepare(job, listed(job), force=True, again=True)
    toy_build(job, workers=1)
    assert contents(tmp_path / "s") == contents(undisturbed)
    prepare(other, listed(other), force=True)
    with pytest.raises(OtherContentError, match="holds unfinished work of another source"):
        prepare(job, listed(job), force=False)


def test_a_listing_that_changes_costs_no_finished_task(undisturbed: Path, tmp_path: Path) -> None:
    """What is finished and still listed as it was is kept, and the end is that of a build of the new listing alone."""
    before = toy_tasks(tmp_path / "s", source=ToySource(tasks_count=3))
    prepare(before, listed(before), force=False)
    for index in (0, 2):
        run_task(before, index, listed(before)[index][1])
    kept = contents(tmp_path / "s" / ".tasks")
    assert not commit(before, range(3))

    job = toy_tasks(tmp_path / "s")
    prepare(job, listed(job), force=False)
    assert kept.items() - contents(tmp_path / "s" / ".tasks").items() == {("build.json", kept["build.json"])}
    assert toy_build(job, workers=1) == []
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_a_file_that_is_taken_away_renumbers_no_finished_task(tmp_path: Path) -> None:
    """The torn tar of three is removed: what was made of those behind it is kept under its number."""
    tasks = toy_tasks(tmp_path / "s", source=ToySource(tasks_count=4))
    everything = listed(tasks)
    prepare(tasks, everything, force=False)
    for index in (0, 2):
        run_task(tasks, index, everything[index][1])
    fewer = [(number, task) for number, (_, task) in enumerate([everything[0], everything[2], everything[3]])]
    assert with_kept_numbers(tasks, fewer) == [everything[0], everything[2], everything[3]]
    assert with_kept_numbers(tasks, everything) == everything
    inserted = [everything[0], (1, everything[3][1]), (2, everything[1][1]), (3, everything[2][1])]
    assert with_kept_numbers(tasks, inserted) == inserted  # no number lies between 0 and 2 for two tasks


@pytest.mark.parametrize(
    "other", [ToySource(tasks_count=1), ToySource(task_clips=10), ToySource(labels=("one", "two"))]
)
def test_a_finished_task_that_is_listed_no_more_is_not_dropped(other: ToySource, tmp_path: Path) -> None:
    before, job = toy_tasks(tmp_path / "s"), toy_tasks(tmp_path / "s", source=other)
    prepare(before, listed(before), force=False)
    run_task(before, 1, listed(before)[1][1])
    kept = contents(tmp_path / "s")
    with pytest.raises(OtherContentError, match="holds unfinished work of another source"):
        prepare(job, listed(job), force=False)
    assert contents(tmp_path / "s") == kept


def test_a_finished_task_whose_shard_is_gone_is_done_again(undisturbed: Path, tmp_path: Path) -> None:
    job = toy_tasks(tmp_path / "s", transform=ToyTransform(fail=("-k15",)))
    toy_build(job, workers=1)
    victims = sorted(path for path in (tmp_path / "s").glob("*.tar"))
    victims[0].unlink()
    victims[1].write_bytes(victims[1].read_bytes()[:-512])
    assert toy_build(toy_tasks(tmp_path / "s"), workers=1) == []
    assert contents(tmp_path / "s") == contents(undisturbed)


def test_a_job_may_join_while_others_are_at_work_and_sweeps_nothing_of_theirs(tmp_path: Path) -> None:
    job = toy_tasks(tmp_path / "s")
    prepare(job, listed(job), force=False)
    half_written = tmp_path / "s" / ".train-000000-000.tar.tmp-0123abcd"
    half_written.touch()
    with locked(tmp_path / "s", fcntl.LOCK_SH):
        assert not prepare(job, listed(job), force=False)
        assert half_written.exists()
    assert not prepare(job, listed(job), force=False)
    assert not half_written.exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.tar").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds nothing made by this command; name another folder"):
        prepare(toy_tasks(tmp_path), [], force=True)
    assert (tmp_path / "holiday.tar").read_text() == "mine"


def test_a_worker_that_outlived_its_build_writes_nothing(tmp_path: Path) -> None:
    job = toy_tasks(tmp_path / "s")
    toy_build(job, workers=1)
    before = contents(tmp_path / "s")
    run_task(job, 0, listed(job)[0][1])  # the data set is committed
    other = toy_tasks(tmp_path / "s", source=ToySource(tasks_count=2))
    prepare(other, listed(other), force=True)
    run_task(job, 0, listed(job)[0][1])  # another build has begun
    assert set(contents(tmp_path / "s")) == {".tasks/build.json"}
    assert before
