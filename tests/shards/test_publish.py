"""Under a final name lies the old content or the new, whole; a failure leaves no trace."""

import errno
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from audio_tokens.shards.publish import publish_bytes, published_file, published_folder


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
    (tmp_path / ".x.tmp-dead").mkdir()
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
