"""Outputs appear whole or not at all: written beside their final name, synced, renamed; and by one process at a time.

Nobody else opens an output for writing.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from audio_tokens.errors import UserError

# What a file system without locks answers.
NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
POLL_S = 0.05
_held: dict[Path, bool] = {}  # the targets that this process has locked, and whether it has them for itself alone


@contextmanager
def target_lock(path: str | Path, *, shared: bool = False, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the right to publish `path`, and what lies below it, while the context lasts.

    The lock is a file beside the target, `.NAME.lock`; the system frees it when its holder dies. `shared` is for the
    slices of one job, which write apart from each other and keep everyone else out. Whoever is alone sweeps what a
    killed process left beside the target. Within a lock of this process there is nothing more to take.

    Raises UserError, saying who and since when, where another process has held it for `wait_s`.
    """
    path = Path(path)
    with _room_for(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.parent.resolve() / path.name
        outer = next((_held[place] for place in (target, *target.parents) if place in _held), None)
        descriptor, alone = (None, outer) if outer is not None else _lock(target, shared, time.monotonic() + wait_s)
    try:
        if descriptor is not None:
            _held[target] = alone
        if alone:
            _sweep(target)
        yield
    finally:
        if descriptor is not None:
            del _held[target]
            _unlock(descriptor, _lock_file(target))


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
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            _sync(temporary, mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


@contextmanager
def published_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty sibling folder to fill; on leaving every file is synced and the folder renamed to `path`.

    An older folder under `path` is replaced only then. Raises UserError where `path` is a file or a link, which are
    never replaced by a folder, where another process is at work on it, and where the disk is full.
    """
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"{path} is a {'link' if path.is_symlink() else 'file'}; name a folder of its own")
    temporary = _sibling(path)
    with target_lock(path), _room_for(path):
        temporary.mkdir()
        try:
            yield temporary
            folder_mode, file_mode = temporary.stat().st_mode, _mode_of_files(temporary)
            for folder, _, names in os.walk(temporary):
                for name in names:
                    _sync(Path(folder) / name, file_mode)
                _sync(Path(folder), folder_mode)
            if path.exists():
                path.rename(_aside(path))  # a full folder cannot be renamed over: it steps aside first
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            _bring_back(path)
            raise
        _sync(path.parent)
        shutil.rmtree(_aside(path), ignore_errors=True)


@contextmanager
def seen_by_others(path: str | Path) -> Iterator[Path]:
    """Yield a file beside `path`, there while the context lasts: a host that sees it shares this one's file system.

    Its name is a new one, of which no network file system remembers that there was no such file.
    """
    mark = _sibling(Path(path))
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def not_seen(there: str, path: str | Path, here: str) -> UserError:
    """What to tell the user where host `there` does not see in its `path` what host `here` writes."""
    return UserError(
        f"{there} does not see in {path} what {here} writes; all hosts that make one result need one file system for "
        "--out, under the same path: mount it on each, or name a folder that they share"
    )


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that there is no room left, in Python's words or in those of a library written in Rust."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = int(told[1]) if told else getattr(error, "errno", None)
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def no_room(path: Path | str) -> UserError:
    """What to tell the user then."""
    return UserError(f"no space left for {path}; make room and run the same command again")


def is_temporary(name: str) -> bool:
    """Whether a file of this name is a sibling not yet published (or left by a killed process)."""
    return re.fullmatch(r"\..+\.tmp-[0-9a-f]{8}", name) is not None


def sweep_below(folder: Path) -> None:
    """Remove what killed processes left inside a folder; for who holds its lock alone and has no workers there."""
    for stale in [path for path in folder.rglob(".*") if is_temporary(path.name)]:
        shutil.rmtree(stale, ignore_errors=True) if stale.is_dir() else stale.unlink(missing_ok=True)


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise no_room(path) from None
        raise


def _lock(target: Path, shared: bool, deadline: float) -> tuple[int, bool]:
    """Return the open lock file, locked as far as the file system can, and whether this process is now alone."""
    file = _lock_file(target)
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
            if _is_at(descriptor, file):
                said = f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M:%S}"
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, said.encode(), 0)  # of several slices, the one that came last
                return descriptor, not shared
        except BlockingIOError:
            if time.monotonic() >= deadline:
                said = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
                os.close(descriptor)
                raise UserError(f"{target} is being written by {said}; wait for it, or stop it") from None
            time.sleep(POLL_S)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
            print(f"warning: {target.parent} knows no locks; let one process at a time write there", file=sys.stderr)
            return descriptor, False
        os.close(descriptor)  # busy, or removed by its last holder before it was locked: once more


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _unlock(descriptor: int, file: Path) -> None:
    """Let go; the last to do so removes the lock file."""
    with suppress(OSError):  # other slices go on, or the file system knows no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink(missing_ok=True)
    os.close(descriptor)


def _lock_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _sweep(path: Path) -> None:
    """Remove what killed processes left beside `path`; a folder that had stepped aside for nothing comes back."""
    _bring_back(path)
    shutil.rmtree(_aside(path), ignore_errors=True)
    for stale in path.parent.iterdir():
        # those of the target, and of what lies beside it under a name of its own, `.NAME.checkpoint.safetensors` say
        if stale.name.startswith((f".{path.name}.tmp-", f"..{path.name}.")) and is_temporary(stale.name):
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()


def _bring_back(path: Path) -> None:
    if _aside(path).is_dir() and not path.exists():
        _aside(path).rename(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _sibling(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")


def _mode_of_files(folder: Path) -> int:
    """Return the mode that files have here by the user's umask, whatever a library gave its own."""
    probe = folder / f".mode-{secrets.token_hex(4)}"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    return mode


def _sync(path: Path, mode: int | None = None) -> None:
    """Have the file or folder on disk, with `mode`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if mode is not None and os.fstat(descriptor).st_mode != mode:
            os.fchmod(descriptor, mode & 0o7777)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
