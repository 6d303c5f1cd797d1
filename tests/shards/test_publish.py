"""Under a final name lies the old content or the new, whole; a failure leaves no trace."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.publish import publish_bytes, published_file, published_folder, target_lock

HOLDER = """
import sys
from audio_tokens.shards.publish import target_lock
with target_lock(sys.argv[1], shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(path: Path, how: str = "alone") -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock of `path` while the context lasts."""
    words = [sys.executable, "-c", HOLDER, str(path), how]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_file_appears_whole_and_replaces_the_old(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    publish_bytes(path, b"1")
    publish_bytes(path, b"22")
    assert path.read_bytes() == b"22"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    publish_bytes(path, b"old")

    def write_half() -> None:
        with published_file(path) as temporary:
            temporary.write_bytes(b"half")
            assert path.read_bytes() == b"old"
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_the_old_one_and_sweeps_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / ".x.tmp-0000dead").mkdir()
    for content in ("old", "new"):
        with published_folder(tmp_path / "x") as temporary:
            assert list(temporary.iterdir()) == []
            (temporary / "sub").mkdir()
            (temporary / "sub" / content).write_text(content)
    assert [path.name for path in (tmp_path / "x" / "sub").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with published_folder(tmp_path / "x") as temporary:
        (temporary / "old").touch()

    def write_half() -> None:
        with published_folder(tmp_path / "x") as temporary:
            (temporary / "new").touch()
            raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        write_half()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("publish", [published_file, published_folder])
def test_a_full_disk_is_a_clear_error_and_leaves_nothing(publish, tmp_path: Path) -> None:
    def fill() -> None:
        with publish(tmp_path / "x"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"no space left for .*/x; make room and run the same command again"):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "message", ["I/O error: No space left on device (os error 28)", "File too large (os error 27)"]
)
def test_a_full_disk_is_the_same_in_the_words_of_a_library(message: str, tmp_path: Path) -> None:
    """safetensors tells of it by an error of its own."""
    with pytest.raises(UserError, match=r"no space left for .*x; make room"), published_file(tmp_path / "x"):
        raise RuntimeError(message)
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_told_who_holds_the_target_and_since_when(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "x") as holder:
        for take in (target_lock, published_folder):
            with pytest.raises(UserError, match=rf"x is being written by process {holder.pid} on \S+ since 20\d\d-"):
                take(tmp_path / "x").__enter__()
        with target_lock(tmp_path / "y"):
            pass
        holder.kill()
        holder.wait()
        with target_lock(tmp_path / "x"), target_lock(tmp_path / "x" / "inside"):
            assert list(tmp_path.glob("**/.*.lock")) == [tmp_path / ".x.lock"], "a lock covers what lies below"
    assert list(tmp_path.glob(".*")) == []


def test_slices_share_a_lock_and_keep_everyone_else_out(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "x", "shared") as holder:
        with target_lock(tmp_path / "x", shared=True):
            pass
        with pytest.raises(UserError, match="is being written by process"):
            target_lock(tmp_path / "x").__enter__()
        assert holder.stdin is not None
        holder.stdin.close()
        with target_lock(tmp_path / "x", wait_s=20):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_someone_may_still_be_writing_is_not_swept(tmp_path: Path) -> None:
    """Fault: two at once on one target, of which the second swept the folder that the first was filling."""
    (tmp_path / ".x.tmp-0123abcd").mkdir()
    (tmp_path / ".x.tmp-mine").mkdir()
    with held_by_another(tmp_path / "x", "shared"), target_lock(tmp_path / "x", shared=True):
        assert (tmp_path / ".x.tmp-0123abcd").is_dir()
    with target_lock(tmp_path / "x"):
        assert not (tmp_path / ".x.tmp-0123abcd").exists()
    assert (tmp_path / ".x.tmp-mine").is_dir(), "no name of this program's"


def test_what_a_kill_left_of_a_file_beside_the_target_is_swept(tmp_path: Path) -> None:
    """Fault: a checkpoint half-written when its process was killed stayed for good."""
    stale, other = tmp_path / "..x.checkpoint.safetensors.tmp-0123abcd", tmp_path / "..xy.tmp-0123abcd"
    stale.touch()
    other.touch()
    with target_lock(tmp_path / "x"):
        assert not stale.exists()
    assert other.exists(), "another target's"


def test_a_folder_that_had_stepped_aside_when_its_process_was_killed_comes_back(tmp_path: Path) -> None:
    with published_folder(tmp_path / "x") as temporary:
        (temporary / "old").touch()
    (tmp_path / "x").rename(tmp_path / ".x.replaced")
    with target_lock(tmp_path / "x"):
        assert (tmp_path / "x" / "old").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_never_takes_the_place_of_a_file_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("thesis")
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    for name in ("file", "link"):
        with pytest.raises(UserError, match=f"{name} is a {name}"):
            published_folder(tmp_path / name).__enter__()
    assert (tmp_path / "file").read_text() == "thesis"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_modes_follow_the_umask_whatever_a_library_does(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with published_file(tmp_path / "x") as temporary:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # as a library's own temporary file
        with published_folder(tmp_path / "y") as temporary:
            os.close(os.open(temporary / "z", os.O_CREAT | os.O_WRONLY, 0o600))
            (temporary / "sub").mkdir(0o700)
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("x", "y", "y/z", "y/sub")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask, 0o777 & ~umask]


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_lock(*_: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    (tmp_path / ".x.tmp-0123abcd").mkdir()
    monkeypatch.setattr(fcntl, "flock", no_lock)
    with published_folder(tmp_path / "x"):
        pass
    assert "knows no locks" in capsys.readouterr().err
    assert (tmp_path / ".x.tmp-0123abcd").is_dir(), "someone may be at work on it"
