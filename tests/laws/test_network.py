"""Nothing reaches for a network that was not asked to: not an import, not a help, not a whole run on local data."""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from audio_tokens.jobs import cli

ROOT = Path(__file__).parents[2]
_reached: list[str] = []
_watching = [False]


def _watch(event: str, arguments: tuple) -> None:
    """Write down, and refuse, what leaves this machine; sockets of the file system (workers') are its own."""
    if not _watching[0] or not event.startswith("socket."):
        return
    asked = event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
    sent = event in ("socket.connect", "socket.sendto", "socket.bind") and isinstance(arguments[1], tuple)
    if asked or sent:
        _reached.append(f"{event} {arguments}")
        raise ConnectionRefusedError(event)


sys.addaudithook(_watch)  # for good: hence the switch


@pytest.fixture
def watched() -> Iterator[list[str]]:
    _reached.clear()
    _watching[0] = True
    yield _reached
    _watching[0] = False


def test_the_watch_sees(watched: list[str]) -> None:
    import socket

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 9))
    assert watched


def test_no_help_and_no_local_run(watched: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0, name
    words = f"run --source soundscapes:60,clip_s=1 --work {tmp_path}/work --systems token-bag --workers 1"
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "[12]"]) == 0
    assert cli.main(["verify", f"{tmp_path}/work/shards", f"{tmp_path}/work/default-0/token-bag", "--deep"]) == 0
    assert watched == []


def imported(*names: str) -> None:
    """Import in a process of its own, which ends where a network is reached for."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.laws.test_network as t; t._watching[0] = True"
    code += f"; import importlib; [importlib.import_module(name) for name in {names!r}]; assert t._reached == []"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_import_of_the_commands() -> None:
    imported("audio_tokens", *(f"audio_tokens.jobs.{name.replace('-', '_')}" for name in cli.COMMANDS))


@pytest.mark.long
def test_no_import_of_anything() -> None:
    package = importlib.import_module("audio_tokens")
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, "audio_tokens.")]
    assert len(modules) > 100
    imported(*(name for name in modules if not name.endswith("transformers_hook")))
