"""The faults. Each takes a round and a generator, and returns how often it struck, by the column of the table."""

import errno
import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from audio_tokens.shards.sources.addresses import remote
from tests.faults.commands import prepare
from tests.faults.events import at_change, fail_with, signal_itself
from tests.faults.forks import Running, ended, start
from tests.faults.rounds import Round
from tests.shards.sources.servers import serve

Struck = Counter[str]
STOPS = 8  # one after the other, before the command may end
DISK_BYTES = 1 << 25
PAGE = 4096
SIGNALS = {"kill -9": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
FORCED = ("build", "cluster", "encode", "train", "pretrain", "export")


def stops(round_: Round, rng: random.Random, name: str) -> Struck:
    """Stop it again and again, at a moment by the clock or before a change of the file system."""
    struck, number = Struck(), SIGNALS[name]
    for _ in range(STOPS):
        if rng.random() < 0.5:
            running = round_.start()
            with ended(running):
                running.sleep(rng.uniform(0, round_.whole.seconds))
                running.send(number, group=rng.random() < 0.5)
                outcome = running.wait()
        else:
            change = rng.randint(1, round_.whole.changes)
            outcome = round_.start(at_change(change, round_.folder, signal_itself(number))).wait()
        struck[name] += outcome.code != 0
        round_.meet(outcome)
    round_.end()
    return struck


def pair(round_: Round, rng: random.Random) -> Struck:
    """Two at once, the second after a while; with --force, perhaps, which must replace nothing half-made."""
    forced = rng.random() < 0.3 and round_.words.split()[0] in FORCED
    running = [round_.start()]
    running[0].sleep(rng.uniform(0, round_.whole.seconds))
    running.append(round_.start(more=" --force" if forced else "", slot="-second"))
    with ended(*running):
        outcomes = [each.wait() for each in running]
    for outcome in outcomes:
        round_.meet(outcome)
        if outcome.code:
            assert outcome.code == 2, outcome
            assert "is being written by process" in outcome.err, outcome
    assert 0 in [outcome.code for outcome in outcomes], outcomes
    round_.end()
    return Struck({"two at once": 1})


def full_disk(round_: Round, rng: random.Random) -> Struck:
    """So little room that it is met somewhere on the way; then there is room again."""
    room = rng.randrange(0, max(PAGE, int(1.3 * round_.whole.bytes)), PAGE)
    if rng.random() < 0.3:  # so much that only the end of it may fail
        room = int(rng.uniform(0.8, 1.6) * round_.whole.bytes) // PAGE * PAGE
    filler = round_.folder / ".filler"
    with _small_disk(round_) as limit:
        if limit is None:
            limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (max(1, room // 4),) * 2)
            outcome = round_.start(limited).wait()
        else:
            status = os.statvfs(round_.folder)
            with filler.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(PAGE, status.f_bavail * status.f_bsize - room))
            outcome = round_.start().wait()
            filler.unlink()
        round_.meet(outcome)
        if outcome.code:
            assert outcome.code == 2, outcome
            assert "no space left" in outcome.err, outcome
        round_.end()
    return Struck({"full disk": int(outcome.code != 0)})


def read_only(round_: Round, rng: random.Random) -> Struck:
    """The disk becomes read-only before or while it runs."""
    with _small_disk(round_) as limit:
        if limit is None:
            return Struck()
        running = round_.start() if rng.random() < 0.5 else None
        if running:
            running.sleep(rng.uniform(0, round_.whole.seconds))
        # A disk with files open for writing refuses; a lazily forced one would need another file system.
        frozen = subprocess.run(["mount", "-o", "remount,ro", round_.folder], capture_output=True).returncode == 0
        outcome = (running or round_.start()).wait()
        if frozen:
            subprocess.run(["mount", "-o", "remount,rw", round_.folder], check=True)
        round_.meet(outcome)
        round_.end()
    return Struck({"read-only": int(frozen and outcome.code != 0)})


def bad_block(round_: Round, rng: random.Random) -> Struck:
    """Opening, renaming or removing a file fails once with EIO."""
    change = rng.randint(1, round_.whole.changes)
    outcome = round_.start(at_change(change, round_.folder, fail_with(errno.EIO))).wait()
    round_.meet(outcome)
    round_.end()
    return Struck({"EIO": 1})


def damage(round_: Round, rng: random.Random) -> Struck:
    """A bit of what a stopped command left is flipped, or the end of it is torn off."""
    if round_.words.split()[0] not in FORCED:
        return Struck()
    change = rng.randint(1, round_.whole.changes)
    round_.meet(round_.start(at_change(change, round_.folder, signal_itself(signal.SIGKILL))).wait())
    files = [path for path in sorted(round_.folder.rglob("*")) if path.is_file() and path.stat().st_size]
    if not files:
        round_.end()
        return Struck()
    file = rng.choice(files)
    data = bytearray(file.read_bytes())
    torn = rng.random() < 0.5
    if torn:
        del data[rng.randrange(len(data)) :]
    else:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    outcome = round_.start().wait()
    assert "Traceback" not in outcome.err, outcome.err[-3000:]
    assert outcome.code in (0, 1, 2), outcome
    if outcome.code:
        assert outcome.err.strip(), outcome
    else:
        try:
            round_.see_whole()
        except AssertionError:
            assert round_.verify().code == 1, f"{file.name} was damaged, and nobody tells"
    round_.end(more=" --force")
    return Struck({"torn or flipped": 1})


def worker_dies(round_: Round, rng: random.Random) -> Struck:
    """A worker meets a segmentation fault, or hangs for a while."""
    running, struck = round_.start(), Struck()
    with ended(running):
        for _ in range(2):
            running.sleep(rng.uniform(0, round_.whole.seconds / 2))
            workers = _workers(running)
            if workers and rng.random() < 0.6:
                _send(rng.choice(workers), signal.SIGSEGV)
                struck["a worker's segfault"] += 1
            elif workers:
                hung = rng.choice(workers)
                _send(hung, signal.SIGSTOP)
                time.sleep(rng.uniform(0, 1))
                _send(hung, signal.SIGCONT)
                struck["a hung worker"] += 1
        outcome = running.wait()
    round_.meet(outcome)
    round_.end()
    return struck


def clock_goes_back(round_: Round, rng: random.Random) -> Struck:
    """The time of day falls by up to an hour at each look."""

    def begin() -> None:
        clock = [time.time()]

        def falling() -> float:
            clock[0] -= rng.uniform(0, 3600)
            return clock[0]

        time.time = falling

    outcome = round_.start(begin).wait()
    assert outcome.code == 0, outcome
    round_.meet(outcome)
    round_.end()
    return Struck({"clock going back": 1})


def faltering_server(round_: Round, rng: random.Random) -> Struck:
    """The shards lie on a web server that fails, or breaks off, up to twice in a row."""
    shards = f"--shards {round_.at}/shards"
    if shards not in round_.words:
        return Struck()
    faults = ("503", "cut", "503 503", "503 cut", "500 429")
    with serve(round_.at) as served:
        served.faults = [fault for _ in range(200) for fault in ("", *rng.choice(faults).split(), "")]
        before = len(served.faults)
        words = round_.words.replace(shards, f"--shards {served.url}/shards")
        outcome = start(words, round_.said, partial(setattr, remote, "WAITS_S", (0.01, 0.02, 0.04))).wait()
    assert outcome.code == 0, outcome
    round_.meet(outcome)
    round_.see_whole()
    return Struck({"a faltering server": int(len(served.faults) < before)})


ATTACKS: dict[str, Callable[[Round, random.Random], Struck]] = {
    **{name: partial(stops, name=name) for name in SIGNALS},
    "two at once": pair,
    "full disk": full_disk,
    "read-only": read_only,
    "EIO": bad_block,
    "torn or flipped": damage,
    "a worker": worker_dies,
    "clock going back": clock_goes_back,
    "a faltering server": faltering_server,
}


@contextmanager
def _small_disk(round_: Round) -> Iterator[int | None]:
    """Mount a disk of its own on the round's folder, with what lies there; None where that is not permitted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(round_.folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        prepare(round_.command, round_.at, round_.folder)
        yield DISK_BYTES
    finally:
        subprocess.run(["umount", "--lazy", str(round_.folder)], check=True)


def _workers(running: Running) -> list[int]:
    """Return the processes of a command's group that no other of its processes has started: the workers."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == running.pid and fields[0] != "Z":
            parents[int(folder.name)] = int(fields[1])
    # the leader, then the fork server and the tracker that it started, then what the fork server forked
    return [pid for pid, parent in parents.items() if parents.get(parent) == running.pid]


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
