"""Files of a source wherever they lie: a folder, an object store, a hub, a web server; listed, never assumed."""

import re
import tarfile
from collections.abc import Iterator
from io import IOBase
from pathlib import PurePosixPath
from typing import NamedTuple, cast

import fsspec
from braceexpand import braceexpand

from shards.errors import ShardsError

AUDIO_ENDINGS = ("flac", "wav", "ogg", "opus", "mp3")
LIST_ENDING = ".txt"


class FileOfSource(NamedTuple):
    """A file's address, with its protocol, and its length where the listing tells it."""

    url: str
    bytes: int | None

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name


def find_files(url: str, ending: str | tuple[str, ...]) -> list[FileOfSource]:
    """Return the files with `ending` (one, or several) at or below `url`, sorted by address.

    `url` may be one such file, a folder of any depth, a pattern with `*` or `{a,b}` or `{00..99}`, or a text file
    (`*.txt`) with an address a line, relative to itself, for servers that list nothing.

    Raises ShardsError where nothing is found.
    """
    found: dict[str, FileOfSource] = {}
    for part in braceexpand(url):
        for file in _find(part, ending):
            found[file.url] = file
    if not found:
        endings = (ending,) if isinstance(ending, str) else ending
        raise ShardsError(f"there is no {' or '.join(f'*{name}' for name in endings)} at {url}")
    return [found[name] for name in sorted(found)]


def open_file(url: str) -> IOBase:
    """Open a file for reading bytes, with random access where its place allows it."""
    return cast(IOBase, fsspec.open(url, "rb").open())


def tar_members(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every regular file of a tar, front to back."""
    with open_file(url) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            if member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                yield member.name, content.read()
            tar.members.clear()  # type: ignore[attr-defined]  # a list of all that was seen, 20,000 long in AudioSet's tars


def _find(url: str, ending: str | tuple[str, ...]) -> list[FileOfSource]:
    if url.endswith(LIST_ENDING):
        base = url.rsplit("/", 1)[0]
        with open_file(url) as file:
            names = [line.strip() for line in file.read().decode("utf-8").splitlines()]
        full = [name if re.match(r"\w+://|/", name) else f"{base}/{name}" for name in names if name.endswith(ending)]
        return [FileOfSource(name, None) for name in full]
    try:
        file_system, path = fsspec.core.url_to_fs(url)
        if "*" in path:
            details = file_system.glob(path, detail=True)
        elif path.endswith(ending):
            details = {path: file_system.info(path)}
        else:
            details = file_system.find(path, detail=True)
    except FileNotFoundError:
        return []
    except (ValueError, ImportError) as error:  # an unknown protocol, or one whose package is absent
        raise ShardsError(f"source {url!r} cannot be read: {error}") from None
    return [
        FileOfSource(file_system.unstrip_protocol(name) if "://" in url else name, detail.get("size"))
        for name, detail in details.items()
        if name.endswith(ending)
    ]
