"""Three hosts on one machine: network namespaces, each with its own name, that meet at a switch in a fourth.

They share this machine's file system, as the hosts of a cluster share theirs, unless a process is given a disk of its
own. Nothing is added to this machine's own network.
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBERS = (1, 2, 3)
PREFIX = "audio-tokens-"
SWITCH = f"{PREFIX}switch"
PORT = "29500"
PATIENCE_S = 600.0  # everything here takes seconds where nobody else is at work
# The host's name, the file of all names, a folder that is to be a disk of its own (or nothing), the command. Nobody is
# asked for a name: whom /etc/resolv.conf tells of cannot be reached.
ENTER = """
hostname "$1" && mount --bind "$2" /etc/hosts && mount --bind /dev/null /etc/resolv.conf || exit 99
[ -z "$3" ] || mount -t tmpfs none "$3" || exit 99
shift 3; exec "$@"
"""


class NoHostsError(RuntimeError):
    """There can be no network namespaces here: for want of root, or of `ip`."""


def address(number: int) -> str:
    return f"10.0.0.{number}"


def name(number: int) -> str:
    return f"host-{number}"


@contextmanager
def hosts(folder: Path) -> Iterator["Hosts"]:
    """Yield hosts 1, 2 and 3; on leaving, nothing is left of them. `folder` is for what their processes say.

    Others on this machine who want some wait meanwhile. What a killed test has left is removed first.
    Raises NoHostsError where there can be none.
    """
    if os.geteuid() != 0:
        raise NoHostsError("network namespaces need root")
    with (Path(tempfile.gettempdir()) / f"{PREFIX}hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove()
        try:
            _connect()
            (folder / "names").write_text(
                "".join(f"{address(n)} {name(n)}\n" for n in NUMBERS) + "127.0.0.1 localhost\n"
            )
            yield Hosts(folder)
        finally:
            _remove()


@dataclass(frozen=True)
class Started:
    """A process on a host, and the file of what it says."""

    process: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(PATIENCE_S)


@dataclass(frozen=True)
class Hosts:
    """The hosts; `folder` holds the file of their names, and what their processes say."""

    folder: Path

    def start(
        self, number: int, *words: str, folder: Path = ROOT, own_disk: Path | None = None, **environment: str
    ) -> Started:
        """Start a module of Python (`-m ...`) in a folder of a host, where `own_disk` is an empty disk."""
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        entered = ["ip", "netns", "exec", PREFIX + name(number), "unshare", "--uts", "sh", "-c", ENTER, "sh"]
        with log.open("wb") as said:
            process = subprocess.Popen(
                [*entered, name(number), str(self.folder / "names"), str(own_disk or ""), sys.executable, *words],
                cwd=folder,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        return Started(process, log)

    def launch(self, *words: str, own_disk: dict[int, Path] | None = None) -> list[Started]:
        """Start a module (`-m ...`) under torchrun, one process a host, which meet at host 1."""
        meeting = ["--nnodes", str(len(NUMBERS)), "--nproc_per_node", "1", "--master_addr", name(1)]
        return [
            self.start(
                number,
                *("-m", "torch.distributed.run", *meeting, "--master_port", PORT, "--node_rank", str(rank), *words),
                own_disk=(own_disk or {}).get(number),
            )
            for rank, number in enumerate(NUMBERS)
        ]

    def lose(self, number: int) -> None:
        """End every process of a host at once, as a loss of power does."""
        _kill(PREFIX + name(number))

    @contextmanager
    def cut_off(self, number: int) -> Iterator[None]:
        """Have the link of a host down while the context lasts."""
        _ip("-n", SWITCH, "link", "set", name(number), "down")
        try:
            yield
        finally:
            _ip("-n", SWITCH, "link", "set", name(number), "up")


def wait_for(holds: Callable[[], bool], *alive: Started) -> None:
    """Wait until something holds, while these processes live."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        for started in alive:
            assert started.process.poll() is None, started.said()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _connect() -> None:
    _ip("netns", "add", SWITCH)
    _ip("-n", SWITCH, "link", "add", "bridge", "type", "bridge")
    _ip("-n", SWITCH, "link", "set", "bridge", "up")
    for number in NUMBERS:
        space = PREFIX + name(number)
        _ip("netns", "add", space)
        _ip("-n", SWITCH, "link", "add", name(number), "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("-n", SWITCH, "link", "set", name(number), "master", "bridge", "up")
        _ip("-n", space, "address", "add", f"{address(number)}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", space, "link", "set", link, "up")


def _remove() -> None:
    for line in _ip("netns", "list").splitlines():
        space, *_ = line.split()
        if space.startswith(PREFIX):
            _kill(space)
            _ip("netns", "delete", space)


def _kill(space: str) -> None:
    for process in _ip("netns", "pids", space).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


def _ip(*words: str) -> str:
    """Return what `ip` says. Raises NoHostsError where there is none, or it cannot do it."""
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoHostsError("network namespaces need the command `ip` (iproute2)") from None
    if done.returncode:
        raise NoHostsError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
