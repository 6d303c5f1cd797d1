"""Laws of a task given up: what can be read is kept, what is listed beyond it is rejected, the rest stays as it is."""

import json
from pathlib import Path

import pytest

from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tasks.task_folder import is_recorded
from tests.shards.tasks.toy_build import ToySource, ToyTransform, contents, listed, toy_build, toy_tasks


def accounts(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the ids of the clips written, and the rejects."""
    dataset = Dataset.open(folder)
    ids = [sample.meta["id"] for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]
    rejects = map(json.loads, (folder / "rejects.jsonl").read_text().splitlines())
    return ids, {reject["id"]: reject["reason"] for reject in rejects}


def test_it_fails_unless_it_may_be_left_out(tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "s", source=ToySource(torn=(15,)))
    (failure,) = toy_build(tasks)
    assert failure.reason == "OSError: torn here"
    assert not (tmp_path / "s" / "dataset.json").exists()
    assert toy_build(tasks, skip_failed=True) == []


@pytest.mark.parametrize("kind", ["torn", "deadly"])
def test_what_is_listed_is_written_or_rejected(kind: str, tmp_path: Path) -> None:
    # tasks of 12: the second breaks off before its fourth clip, the last before its first
    source = ToySource(**{kind: (15, 36)})
    assert toy_build(toy_tasks(tmp_path / "s", source=source), skip_failed=True) == []
    written, rejected = accounts(tmp_path / "s")
    assert len(written) + len(rejected) == 48
    assert {f"clip {number}" for number in (*range(15), *range(24, 36))} <= {*written, *rejected}
    unread = [f"from 12: clip {number}" for number in range(4, 13)] + [f"from 36: clip {n}" for n in range(1, 13)]
    assert unread == [name for name in rejected if name.startswith("from")]
    assert all(("torn here" if kind == "torn" else "not read: ") in rejected[name] for name in unread)
    second, last = Dataset.open(tmp_path / "s").manifest["left_out"]
    assert second.startswith("from 12: 3 read, 9 not: ")
    assert last.startswith("from 36: 0 read, 12 not: ")


def test_where_no_count_is_listed_the_rest_is_unknown(tmp_path: Path) -> None:
    source = ToySource(torn=(15,), counted=False)
    assert toy_build(toy_tasks(tmp_path / "s", source=source), skip_failed=True) == []
    written, rejected = accounts(tmp_path / "s")
    assert {*written, *rejected} == {f"clip {number}" for number in (*range(15), *range(24, 48))}
    assert Dataset.open(tmp_path / "s").manifest["left_out"] == ["from 12: 3 read, rest unknown: OSError: torn here"]


def test_a_clip_that_cannot_be_had_costs_itself(tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "s", transform=ToyTransform(fail=("-k14", "-k16")))
    assert toy_build(tasks, skip_failed=True) == []
    written, rejected = accounts(tmp_path / "s")
    assert sorted([*written, *rejected]) == sorted(f"clip {number}" for number in range(48))
    assert rejected["clip 14"] == rejected["clip 16"] == "RuntimeError: a bug"
    assert Dataset.open(tmp_path / "s").manifest["left_out"] == ["from 12: 10 read, 2 not: RuntimeError: a bug"]


def test_what_is_sound_leaves_nothing_out(tmp_path: Path) -> None:
    assert toy_build(toy_tasks(tmp_path / "a")) == []
    assert toy_build(toy_tasks(tmp_path / "b"), skip_failed=True) == []
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert "left_out" not in Dataset.open(tmp_path / "b").manifest


def test_what_was_left_out_is_tried_again_where_it_may_not_be(tmp_path: Path) -> None:
    once = tmp_path / "once"
    once.mkdir()
    transform = ToyTransform(fail=("-k14",))
    tasks = toy_tasks(tmp_path / "s", source=ToySource(torn=(40,)), transform=transform)
    toy_build(tasks)
    from audio_tokens.shards.tasks.task import run_task

    (index, task), *_ = [call for call in listed(tasks) if not is_recorded(tasks, call[0])]
    run_task(tasks, index, task, "it is not tried again")
    assert is_recorded(tasks, index)
    assert not is_recorded(tasks, index, whole=True)
    assert not is_recorded(tasks, index)  # it is gone
