"""The table of clips is what the shards say, and is believed only where it can be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset import shard_files
from audio_tokens.shards.dataset.clip_table import CLIPS, Arrays, joined, mapped_arrays, read_arrays, write_arrays
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.dataset.tar_shard import ShardReader
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.task import run_task
from audio_tokens.shards.tasks.task_folder import is_recorded, prepare
from audio_tokens.shards.tasks.task_shards import ShardConfig
from tests.shards.dataset.mel_sets import mel_set
from tests.shards.tasks.toy_build import ToySource, contents, listed, toy_build, toy_tasks


def mels_of(clips: int, frames: int = 9) -> list[np.ndarray]:
    rng = np.random.default_rng(clips)
    return [
        rng.uniform(-80, 0, (int(rng.integers(1, frames + 1)), 8)).astype(np.float32).astype(np.float16)
        for _ in range(clips)
    ]


@pytest.mark.parametrize("keys", [10**9, 20], ids=["all keys differ", "keys are met again"])
def test_the_table_is_what_a_walk_over_the_shards_finds(keys: int, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    toy_build(toy_tasks(folder, source=ToySource(keys=keys), config=ShardConfig(shard_clips=5)), workers=1)
    dataset, table = Dataset.open(folder), Dataset.open(folder).table
    walked = [ShardReader(folder / shard.name) for shard in dataset.shards]
    samples = [sample for reader in walked for sample in reader.read()]
    assert len(samples) == dataset.clips < 48
    assert table.keys == [sample.key for sample in samples]
    assert table.groups == [sample.meta["group"] for sample in samples]
    assert table.frames_C.tolist() == [len(sample.array_TF) for sample in samples]
    assert np.array_equal(table.index_C4, np.concatenate([reader.index_C4 for reader in walked]))
    cut = np.split(table.label_ids, table.label_offsets[1:-1])
    assert [ids.tolist() for ids in cut] == [sample.meta["labels"] for sample in samples]
    numbers = np.concatenate([dataset.numbers_of(place) for place in dataset.places])
    assert sorted(numbers.tolist()) == list(range(dataset.clips))
    for number in numbers[::7].tolist():
        assert dataset.clip(number).key == samples[number].key
        assert np.array_equal(dataset.clip(number).array_TF, samples[number].array_TF)


@pytest.mark.parametrize("span_bytes", [1, 3_000, 1 << 23])
def test_any_range_of_a_shard_is_that_range(span_bytes: int, tmp_path: Path) -> None:
    mels = mels_of(13)
    dataset = mel_set(tmp_path / "s", mels, shard_clips=8)
    dataset._files.span_bytes = span_bytes
    for start, stop in ((0, None), (2, 5), (3, 3), (-2, None), (0, 99)):
        read = [sample.key for sample in dataset.read(0, start, stop)]
        assert read == [f"clip-{number}" for number in range(8)][start:stop]
    assert [sample.key for sample in dataset.read(1)] == [f"clip-{number}" for number in range(8, 13)]
    assert dataset.sample(1, -1).key == "clip-12"
    with pytest.raises(IndexError):
        dataset.sample(0, 8)
    assert all(np.array_equal(dataset.clip(number).array_TF, mel_TF) for number, mel_TF in enumerate(mels))


def test_arrays_are_views_that_nobody_can_write_through(tmp_path: Path) -> None:
    array_TF = mel_set(tmp_path / "s", mels_of(3), shard_clips=8).clip(2).array_TF
    assert not array_TF.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array_TF[0] = 1


def test_what_will_be_read_is_announced_once_and_neighbours_together(tmp_path: Path) -> None:
    dataset = mel_set(tmp_path / "s", mels_of(30), shard_clips=8)
    spans: list[tuple[int, int, int]] = []
    dataset._files.will_read = lambda *span: spans.append(span)  # type: ignore[method-assign]
    dataset.will_read(np.array([29, 3, 4, 2, 16, 7, 8]))
    index_C4 = dataset.table.index_C4
    begin_C, end_C = index_C4[:, 0] - 512, index_C4[:, 2] + index_C4[:, 3]
    wanted = [(0, 2, 4), (0, 7, 7), (1, 8, 8), (2, 16, 16), (3, 29, 29)]  # shard, first and last clip
    assert spans == [(shard, begin_C[first], end_C[last]) for shard, first, last in wanted]
    del dataset._files.will_read
    dataset.will_read(np.arange(30))  # the system takes it


def test_more_shards_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "OPEN_FILES", 2)
    dataset = mel_set(tmp_path / "s", mels_of(12), shard_clips=2)
    for number in np.random.default_rng(0).permutation(12).tolist():
        assert dataset.clip(number).key == f"clip-{number}"


def with_array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name])}


DAMAGE = {
    "fewer clips": with_array("frames", lambda x: x[1:]),
    "another type": with_array("frames", lambda x: x.astype(np.float64)),
    "negative lengths": with_array("frames", lambda x: -x),
    "offsets fall": with_array("label_offsets", lambda x: x[::-1].copy()),
    "offsets end early": with_array("key_offsets", lambda x: np.minimum(x, x[-1] - 1)),
    "keys are no text": with_array("key_bytes", lambda x: np.full_like(x, 0xFF)),
    "labels beyond": with_array("label_ids", lambda x: x + 1),
    "beyond the shard": with_array("index", lambda x: x + np.array([0, 0, 10**7, 0])),
    "before the shard": with_array("index", lambda x: x - np.array([10**7, 0, 0, 0])),
    "lengths of all the memory": with_array("index", lambda x: x + np.array([0, 2**60, 0, 0])),
}


def test_a_mapped_table_is_the_one_that_is_read_and_takes_no_memory(tmp_path: Path) -> None:
    mel_set(tmp_path / "s", mels_of(5), shard_clips=3)
    read, mapped = (arrays(tmp_path / "s" / CLIPS) for arrays in (read_arrays, mapped_arrays))
    assert read.keys() == mapped.keys()
    for name, array in read.items():
        np.testing.assert_array_equal(mapped[name], array)
        assert mapped[name].dtype == array.dtype
        assert not mapped[name].flags.owndata
        assert not mapped[name].flags.writeable
    empty = joined([])
    write_arrays(tmp_path / CLIPS, empty)
    assert {name: array.tolist() for name, array in mapped_arrays(tmp_path / CLIPS).items()} == {
        name: array.tolist() for name, array in empty.items()
    }
    np.savez_compressed(tmp_path / CLIPS, **read)
    with pytest.raises(ValueError, match="is not stored as it is written here"):
        mapped_arrays(tmp_path / CLIPS)


@pytest.mark.parametrize("name", DAMAGE)
def test_a_table_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    dataset = mel_set(tmp_path / "s", mels_of(5), shard_clips=3)
    write_arrays(tmp_path / "s" / CLIPS, DAMAGE[name](read_arrays(tmp_path / "s" / CLIPS)))
    with pytest.raises(UserError, match=r"clips\.npz is damaged \("):
        next(dataset.read(0))


def test_the_table_of_other_shards_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    dataset = mel_set(tmp_path / "s", mels_of(6), shard_clips=3)
    mine = read_arrays(tmp_path / "s" / CLIPS)
    write_arrays(tmp_path / "s" / CLIPS, {**mine, "index": mine["index"][[1, 0, 2, 3, 4, 5]]})
    with pytest.raises(UserError, match=r"damaged at its clip 0 \('clip-1' lies where clips.npz says that 'clip-0'"):
        dataset.clip(0)
    (tmp_path / "s" / CLIPS).unlink()
    with pytest.raises(UserError, match=r"clips\.npz is missing: the data set was copied in part"):
        Dataset.open(tmp_path / "s").clip(0)


def test_a_shard_that_changed_its_length_is_torn(tmp_path: Path) -> None:
    dataset = mel_set(tmp_path / "s", mels_of(6), shard_clips=3)
    shard = tmp_path / "s" / dataset.shards[1].name
    shard.write_bytes(shard.read_bytes()[:-512])
    assert dataset.clip(0).key == "clip-0"
    with pytest.raises(UserError, match="is torn: it has"):
        dataset.clip(3)


def test_a_lost_table_of_a_finished_task_has_it_done_again(tmp_path: Path) -> None:
    toy_build(toy_tasks(tmp_path / "whole"), workers=1)
    folder = tmp_path / "s"
    job = toy_tasks(folder)
    tasks = listed(job)
    prepare(job, tasks, force=False)
    for index, task in tasks:
        run_task(job, index, task)
    tables = sorted((folder / ".tasks").glob("*.npz"))
    assert len(tables) > 4
    tables[0].write_bytes(bytes(tables[0].stat().st_size))
    with pytest.raises(UserError, match="is removed; the same command makes it again"):
        commit(job, range(len(tasks)))
    assert [index for index, _ in tasks if not is_recorded(job, index)] == [0]
    run_task(job, *tasks[0])
    assert commit(job, range(len(tasks)))
    assert contents(folder) == contents(tmp_path / "whole")
