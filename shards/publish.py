"""Outputs appear whole or not at all: written beside their final name, synced, renamed.

Nobody else opens an output for writing.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def publish_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` under `path`: a reader finds the old content, the new content, or (before the first) nothing."""
    with published_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def published_file(path: str | Path) -> Iterator[Path]:
    """Yield a sibling of `path` to write; on leaving it is synced and renamed to `path`, on an error it is removed.

    Raises what the file system raises (OSError with errno ENOSPC where the disk is full).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(path)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}.tmp-*"):
        shutil.rmtree(stale)
    temporary = _sibling(path)
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


def is_temporary(name: str) -> bool:
    """Whether a file of this name is a sibling not yet published (or left by a killed process)."""
    return name.startswith(".") and ".tmp-" in name


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
