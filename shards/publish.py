"""Outputs appear whole or not at all: written beside their final name, synced, renamed.

Nobody else opens an output for writing.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audio_tokens.errors import UserError


def publish_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` under `path`: a reader finds the old content, the new content, or (before the first) nothing."""
    with published_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def published_file(path: str | Path) -> Iterator[Path]:
    """Yield a sibling of `path` to write; on leaving it is synced and renamed to `path`, on an error it is removed.

    Raises UserError where the disk is full, and what else the file system raises.
    """
    path = Path(path)
    temporary = _sibling(path)
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextmanager
def published_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty sibling folder to fill; on leaving every file is synced and the folder renamed to `path`.

    An older folder under `path` is replaced only then; siblings that a killed process left behind are swept first.
    """
    path = Path(path)
    temporary = _sibling(path)
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{path.name}.tmp-*"):
            shutil.rmtree(stale)
        temporary.mkdir()
        try:
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _sync(Path(folder) / name)
                _sync(Path(folder))
            if path.exists():
                old = _sibling(path)  # a full folder cannot be renamed over: it steps aside first
                path.rename(old)
                temporary.rename(path)
                shutil.rmtree(old)
            else:
                temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that there is no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_room(path: Path) -> UserError:
    """What to tell the user then."""
    return UserError(f"no space left for {path}; make room and run the same command again")


def is_temporary(name: str) -> bool:
    """Whether a file of this name is a sibling not yet published (or left by a killed process)."""
    return name.startswith(".") and ".tmp-" in name


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(path) from None
        raise


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
