"""A Dask cluster of separate processes gives the bytes of the local pool, whoever is killed."""

import os
import signal
import socket
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.publish import seen_by_others
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.run_tasks import run_tasks
from audio_tokens.shards.tasks.task_folder import prepare
from audio_tokens.shards.tasks.task_set import TASKS, TaskSet
from audio_tokens.shards.workers.dask_pool import call_where_seen, dask_pool
from tests.shards.tasks.toy_build import ToyTransform, contents, listed, toy_build, toy_tasks
from tests.shards.workers.toy_cluster import cluster


def build_on(address: str, tasks: TaskSet) -> None:
    assert not prepare(tasks, listed(tasks), force=False)
    with dask_pool(address, tasks.folder / TASKS) as executor:
        assert run_tasks(executor, tasks, listed(tasks)) == []
    assert commit(tasks, range(len(listed(tasks))))


def worker_pids(address: str) -> dict[str, int]:
    from distributed import Client

    with Client(address) as client:
        return client.run(os.getpid)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_dask_gives_the_local_bytes_whoever_is_killed(tmp_path: Path) -> None:
    flags = tmp_path / "flags"
    flags.mkdir()
    toy_build(toy_tasks(tmp_path / "plain"), workers=1)
    crashing = ToyTransform(segfault=("-k3", "-k4"), hang=("-k14",), leave=("-k41",), bad=("-k20",))
    toy_build(toy_tasks(tmp_path / "local", transform=crashing, clip_timeout_s=3.0), workers=1)
    with cluster(tmp_path, workers=2) as address:
        before = worker_pids(address)
        assert len(before) == 2
        # Clips that kill their process or hang cost themselves, and no worker.
        build_on(address, toy_tasks(tmp_path / "crashing", transform=crashing, clip_timeout_s=3.0))
        assert worker_pids(address) == before
        # A worker killed from outside, in the middle of a clip: nothing is lost.
        killed = ToyTransform(caller_killed=("-k30",), once=flags)
        build_on(address, toy_tasks(tmp_path / "killed", transform=killed))
        assert len(set(before.values()) - set(worker_pids(address).values())) == 1
    assert len(list(flags.iterdir())) == 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "plain")
    assert contents(tmp_path / "crashing") == contents(tmp_path / "local")
    assert signal.SIGSEGV.name in (tmp_path / "crashing" / "rejects.jsonl").read_text()


def test_a_scheduler_that_is_not_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("audio_tokens.shards.workers.dask_pool.ANSWER_TIMEOUT", "1s")
    with pytest.raises(UserError, match="no Dask scheduler answers at tcp"):
        dask_pool("tcp://127.0.0.1:9", tmp_path).__enter__()


def test_a_worker_that_does_not_see_the_folder_is_refused_by_its_name(tmp_path: Path) -> None:
    with seen_by_others(tmp_path / "hosts") as mark:
        assert call_where_seen(mark, "here", max, 3, 7) == 7
    with pytest.raises(
        UserError, match=rf"{socket.gethostname()} does not see in {tmp_path} what here writes; all hosts"
    ):
        call_where_seen(mark, "here", max, 3, 7)
    assert list(tmp_path.iterdir()) == []
