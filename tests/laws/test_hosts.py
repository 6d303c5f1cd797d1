"""Three hosts make what one makes, byte for byte, also where one is cut off meanwhile and returns; see hosts.py."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors import safe_open

from audio_tokens.jobs import cli
from tests.laws.hosts import NUMBERS, PATIENCE_S, ROOT, Hosts, NoHostsError, Started, address, hosts, name, wait_for
from tests.shards.tasks.toy_build import contents

pytestmark = [pytest.mark.long, pytest.mark.timeout(3 * PATIENCE_S)]
SOURCE = "soundscapes:2500,clip_s=1"  # ten tasks
CUT_S = 2.0
JOB = "audio_tokens.jobs"
FIT = "--recipe seed --recipe.kmeans.clusters 64 --recipe.kmeans.checkpoint_batches 2 --recipe.kmeans.passes 4"
TRAIN = "--system token-linear --options.epochs 6 --options.checkpoint_steps 2 --options.precision fp32"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(hosts(tmp_path_factory.mktemp("hosts")))
        except NoHostsError as error:
            pytest.skip(str(error))
        yield found


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one host makes: shards, codebook, tokens."""
    work = tmp_path_factory.mktemp("one")
    for words in (
        f"build --source {SOURCE} --out {work}/shards --workers 1".split(),
        ["cluster", "--shards", f"{work}/shards", "--out", f"{work}/codebook", *FIT.split()],
        f"encode --shards {work}/shards --codebook {work}/codebook --out {work}/tokens.zarr --workers 1".split(),
    ):
        assert cli.main(words) == 0, words
    return work


@pytest.fixture(autouse=True)
def nothing_runs_on(three: Hosts) -> Iterator[None]:
    yield
    for number in NUMBERS:
        three.lose(number)


def dask(three: Hosts, *workers: int, own_disk: Path | None = None, patience: str = "5m") -> tuple[str, Started]:
    """Start a scheduler on host 1 and a worker on each of some hosts; return its address, and itself.

    It gives up a worker from which it has not heard for as long as its `patience`.
    """
    place, alone = f"tcp://{name(1)}:8786", "--no-dashboard"
    scheduler = three.start(
        1,
        *f"-m distributed.cli.dask_scheduler --host {name(1)} --port 8786 {alone}".split(),
        DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=patience,
    )
    for number in workers:
        words = f"-m distributed.cli.dask_worker {place} --nthreads 1 --no-nanny {alone}"
        worker = three.start(number, *words.split(), "--local-directory", str(three.folder), own_disk=own_disk)
        wait_for(lambda worker=worker: "Registered to:" in worker.said(), worker, scheduler)  # type: ignore[misc]
    return place, scheduler


def test_shards_and_tokens_by_dask(three: Hosts, one: Path, tmp_path: Path) -> None:
    """One host is lost to the build, whose tasks the others take over; another to encode, for a while."""
    place, scheduler = dask(three, *NUMBERS, patience="20s")
    shards, tokens = tmp_path / "shards", tmp_path / "tokens.zarr"
    words = f"-m {JOB}.build --source {SOURCE} --out {shards} --dask {place}"
    build = three.start(1, *words.split())
    wait_for(lambda: any((shards / ".tasks").glob("0*.json")), build)
    with three.cut_off(3):
        assert build.ended() == 0, build.said()[-3000:]
        # not heard of for too long, or its connection timed out: whichever comes first
        assert f"Remove worker addr: tcp://{address(3)}" in scheduler.said()
    assert contents(shards) == contents(one / "shards")
    words = f"-m {JOB}.encode --shards {shards} --codebook {one}/codebook --out {tokens} --dask {place}"
    encode = three.start(1, *words.split())
    wait_for(lambda: any((tmp_path / ".tokens.zarr.parts" / ".tasks").glob("0*.json")), encode)
    with three.cut_off(2):
        time.sleep(CUT_S)
    assert encode.ended() == 0, encode.said()[-3000:]
    assert contents(tokens) == contents(one / "tokens.zarr")


def test_a_codebook_by_torchrun(three: Hosts, one: Path, tmp_path: Path) -> None:
    """A host that is cut off for a while keeps the others waiting, and no more."""
    out = tmp_path / "codebook"
    ranks = three.launch("-m", f"{JOB}.cluster", "--shards", f"{one}/shards", "--out", str(out), *FIT.split())
    wait_for((tmp_path / ".codebook.checkpoint.safetensors").exists, *ranks)
    with three.cut_off(2):
        time.sleep(CUT_S)
        assert not out.exists()
    for rank in ranks:
        assert rank.ended() == 0, rank.said()[-3000:]
    assert contents(out) == contents(one / "codebook")


def test_weights_by_torchrun(three: Hosts, one: Path, tmp_path: Path) -> None:
    """Of a host that is lost with all that it did, the others tell in one line, and the same command goes on."""
    words = ["-m", f"{JOB}.train", "--tokens", f"{one}/tokens.zarr", *TRAIN.split(), "--out"]
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(len(NUMBERS))]
    subprocess.run([sys.executable, *together, *words, f"{tmp_path}/one"], cwd=ROOT, check=True, timeout=PATIENCE_S)
    out = tmp_path / "three"
    ranks = three.launch(*words, str(out))
    wait_for(lambda: steps_done(out) >= 4, *ranks)
    with three.cut_off(3):  # nobody hears of its end, then or later
        three.lose(3)
        time.sleep(CUT_S)
        assert ranks[0].process.poll() is None, "host 1 waits"
        for rank in ranks[:2]:
            assert rank.ended() != 0
            assert "audio-tokens train: error: another process of this job is gone (" in rank.said()
            assert "the same command on every host resumes" in rank.said()
    assert 4 <= steps_done(out) < 6 * 30
    assert not (out / "result.json").exists()
    ranks = three.launch(*words, str(out))
    for rank in ranks:
        assert rank.ended() == 0, rank.said()[-3000:]
    assert "resuming at epoch" in ranks[0].said()
    model = Path("model", "model.safetensors")
    assert (out / model).read_bytes() == (tmp_path / "one" / model).read_bytes()


def test_a_worker_on_a_disk_of_its_own_is_refused(three: Hosts, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    out.mkdir()
    place, _ = dask(three, 2, own_disk=out)
    build = three.start(1, *f"-m {JOB}.build --source soundscapes:30,clip_s=1 --out {out} --dask {place}".split())
    assert build.ended() == 2
    errors = [line for line in build.said().splitlines() if "error: " in line]
    assert [f"error: host-2 does not see in {out}/.tasks what host-1 writes; all hosts" in line for line in errors] == [
        1
    ]
    assert not (out / "dataset.json").exists()


def test_a_rank_on_a_disk_of_its_own_is_refused(three: Hosts, one: Path, tmp_path: Path) -> None:
    ranks = three.launch(
        *("-m", f"{JOB}.cluster", "--shards", f"{one}/shards", "--out", f"{tmp_path}/codebook", *FIT.split()),
        own_disk={2: tmp_path},
    )
    for rank in ranks:
        assert rank.ended() != 0
        assert f"error: host-2 does not see in {tmp_path} what host-1 writes; all hosts" in rank.said()
    assert list(tmp_path.iterdir()) == []


def test_a_rank_in_another_working_folder_is_refused(three: Hosts, one: Path, tmp_path: Path) -> None:
    """Without a launcher, as job managers start one process a host."""
    words = ["-m", f"{JOB}.train", "--tokens", f"{one}/tokens.zarr", *TRAIN.split(), "--out", "run"]
    ranks = []
    for rank, number in enumerate((1, 3)):
        (tmp_path / str(rank)).mkdir()
        meeting = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        meeting |= {"MASTER_ADDR": name(1), "MASTER_PORT": "29501"}
        ranks.append(three.start(number, *words, folder=tmp_path / str(rank), **meeting))
    for rank in ranks:
        assert rank.ended() == 2
        assert f"error: host-3 does not see in {tmp_path}/1/run what host-1 writes; all hosts" in rank.said()


def steps_done(run: Path) -> int:
    """Return how many steps the last state of a run has taken, if there is one."""
    file = run / "checkpoints" / "choose" / "last.safetensors"
    if not file.exists():
        return 0
    with safe_open(file, framework="np") as state:
        return json.loads(state.metadata()["state"])["step"]
