"""Encoding sound keeps the laws of a build: whatever a decoder does costs its own clip, and any death is survived."""

import json
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import ClipError
from audio_tokens.jobs.build import Build, build
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.inputs.front_end import ClipToViews
from audio_tokens.shards.sources import registry
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore
from tests.jobs.test_build import write_clips
from tests.jobs.toy_sounds import CALM, REASONS, rejects_of
from tests.jobs.toy_tokens import toy_codebook, toy_shards
from tests.shards.tasks.kills import command, kill_many
from tests.shards.tasks.toy_build import contents
from tests.shards.workers.toy_cluster import cluster

COUNT = 2


@pytest.fixture(scope="module")
def codebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accidents")
    return toy_codebook(toy_shards(folder), folder / "codebook")


@pytest.fixture(autouse=True)
def toy_source(monkeypatch):
    monkeypatch.setitem(registry.SOURCES, "toy", registry.Kind("tests.jobs.toy_sounds", "toy:NAME", "toys"))


def encoded(codebook: str, out: Path, name: str, **options) -> Path:
    views = ViewConfig(count=COUNT, mix=0.5)
    job = {"source": f"toy:{name}", "codebook": codebook, "views": views, "clip_timeout_s": 3.0, "workers": 1}
    assert encode(Encode(out=str(out), **job | options)) == 0
    return out


def tokens_of(store: Path) -> dict[str, list]:
    """Return the tokens of every clip by its key, and how many views it has."""
    opened, found = TokenStore.open(store), {}
    for place in opened.places:
        group, views = opened.group(place), opened.group(place + VIEWS)
        assert views.keys == [key for key in group.keys for _ in range(COUNT)]
        for row, key in enumerate(group.keys):
            found[key] = group.ids_PQ[group.offsets[row] : group.offsets[row + 1]].tolist()
    return found


@pytest.fixture(scope="module")
def broken(codebook, tmp_path_factory):
    """The store that one worker makes of the broken sounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.SOURCES, "toy", registry.Kind("tests.jobs.toy_sounds", "toy:NAME", "toys"))
        return encoded(codebook, tmp_path_factory.mktemp("accidents") / "tokens.zarr", "broken")


def test_a_decoder_that_crashes_hangs_or_returns_nonsense_costs_its_clip(codebook, broken, tmp_path):
    rejects = {line["id"]: line["reason"] for line in map(json.loads, rejects_of(broken))}
    assert rejects == REASONS
    calm, left = tokens_of(encoded(codebook, tmp_path / "calm.zarr", "calm")), tokens_of(broken)
    assert len(left) + len(rejects) == CALM.tasks_count * CALM.task_clips
    assert left == {key: ids for key, ids in calm.items() if key in left}


def test_what_cannot_be_read_is_left_out_where_asked(codebook, tmp_path, capsys):
    out = tmp_path / "tokens.zarr"
    job = {"source": "toy:torn", "codebook": codebook, "out": str(out), "workers": 1}
    assert encode(Encode(**job)) == 1
    assert "with --skip-failed leaves out what cannot be read" in capsys.readouterr().err
    assert encode(Encode(**job, skip_failed=True)) == 0
    left_out = ["from 12: 3 read, 9 not: OSError: torn here"]
    assert TokenStore.open(out).attributes["left_out"] == left_out
    assert f"warning: left out: {left_out[0]}" in capsys.readouterr().out
    opened = TokenStore.open(out)
    assert sum(len(opened.group(place).keys) for place in opened.places) + len(rejects_of(out)) == 24


def test_a_job_array_of_one_and_of_two_workers_gives_the_same_bytes(codebook, broken, tmp_path, capsys):
    out = tmp_path / "tokens.zarr"
    for index, workers in ((1, 2), (0, 1)):
        assert not out.exists()
        encoded(codebook, out, "broken", workers=workers, task_index=index, task_count=2)
    assert "this part is done; the job that finishes last commits" in capsys.readouterr().out
    assert contents(out) == contents(broken)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.zarr"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_two_workers_and_dask_give_the_same_bytes(codebook, broken, tmp_path):
    assert contents(encoded(codebook, tmp_path / "two.zarr", "broken", workers=2)) == contents(broken)
    with cluster(tmp_path, workers=2) as address:
        assert contents(encoded(codebook, tmp_path / "dask.zarr", "broken", dask=address)) == contents(broken)


def test_of_equal_keys_in_two_tasks_the_first_stays_as_in_a_build(codebook, tmp_path):
    out = encoded(codebook, tmp_path / "tokens.zarr", "twice")
    build(Build(source="toy:twice", out=str(tmp_path / "shards"), workers=1))
    assert sorted(rejects_of(tmp_path / "shards")) == sorted(rejects_of(out))
    assert any("duplicate key" in line for line in rejects_of(out))
    calm, left = tokens_of(encoded(codebook, tmp_path / "calm.zarr", "calm")), tokens_of(out)
    assert len(left) + len(rejects_of(out)) == CALM.tasks_count * CALM.task_clips
    assert left.pop("-k7") == calm["-k22"]  # number 7 is rejected in both
    assert left == {key: ids for key, ids in calm.items() if key in left}


class BrokenFrontEnd(FrontEnd):
    """Returns some array in place of mel."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(MEL_CONFIGS["mel22k"])
        self.array = array.astype(np.float32)

    def __call__(self, clip, promised_s=None):
        return self.array, 1.0


@pytest.mark.parametrize("nonsense", [np.zeros((5, 63)), np.zeros((0, 64)), np.zeros(64), np.full((5, 64), np.nan)])
def test_what_is_no_mel_is_the_clips_fault(nonsense):
    clip = Clip(key="a", labels=("one",), place="train", group="", source_id="a", wave_S=np.ones(9, "f4"), rate_hz=8)
    with pytest.raises(ClipError, match=r"mel of shape|mel is not finite"):
        ClipToViews(BrokenFrontEnd(nonsense), ViewConfig(), 0)(clip, None)


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.long)])
def test_killed_and_resumed_the_store_has_the_same_bytes(kills, codebook, tmp_path):
    source = write_clips(tmp_path / "in", 200 * (kills + 1))
    words = command("encode", "--source", source, "--codebook", codebook, "--workers", "1")
    words += ["--views.count", "1", "--views.mix", "0.8", "--out"]
    for name, times in (("undisturbed", 0), ("killed", kills)):
        out = tmp_path / f"{name}.zarr"
        kill_many([*words, str(out)], tmp_path / f".{out.name}.parts", 128, kills=times, most_clips=180, seed=1)
    assert contents(tmp_path / "killed.zarr") == contents(tmp_path / "undisturbed.zarr")
    assert not list(tmp_path.glob(".*.parts"))
