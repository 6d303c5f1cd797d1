"""Files of a source wherever they lie: a folder, an object store, a hub, a web server; listed, never assumed."""

import codecs
from collections.abc import Iterator
from io import IOBase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.addresses.braces import braced
from audio_tokens.shards.sources.addresses.reach import is_plain_file, named_by, permitted
from audio_tokens.shards.sources.addresses.remote import file_system_of, open_url, told

# Of two of these for one clip the first is taken.
AUDIO_ENDINGS = (
    *(
        "flac",
        "wav",
        "ogg",
        "opus",
        "mp3",
        "wave",
        "oga",
        "aiff",
        "aif",
        "aifc",
        "au",
        "snd",
        "caf",
        "w64",
        "rf64",
        "sph",
    ),
    *("m4a", "aac", "mp4", "webm", "mka", "mkv", "wma", "mp2", "amr", "3gp", "mov", "wv", "ape", "tta", "ac3", "avi"),
)
LIST_ENDING = ".txt"
WALKED = {"file", "http"}
# A folder with one of these holds mel shards, finished or not: the output of a build may lie beside the sounds.
MADE_HERE = {"dataset.json", ".tasks"}


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
    (`*.txt`) with an address a line, relative to itself, for servers that list nothing; reach.py says what it may name.

    Raises UserError where nothing is found, for any name that braces make too, or a folder cannot be listed; and for
    braces that make more than MOST_PARTS names.
    """
    found: dict[str, FileOfSource] = {}
    parts = braced(permitted(url))
    for part in parts:
        files = _find(part, ending)
        if not files:
            endings = (ending,) if isinstance(ending, str) else ending
            shown = [name for name in endings if not any(name.startswith(f"{other}.") for other in endings)]
            raise UserError(f"there is no {' or '.join(f'*{name}' for name in shown)} at {part}")
        found |= {file.url: file for file in files}
    return [found[name] for name in sorted(found)]


def open_file(url: str) -> IOBase:
    """Open a file for reading bytes, with random access where its place allows it.

    Raises UserError for what is no file of a disk, see reach.py.
    """
    path = Path(url.removeprefix("file://"))
    if ("://" not in url or url.startswith("file://")) and path.exists() and not is_plain_file(path):
        raise UserError(f"{url} is not a regular file: a device, a pipe or a socket")
    return open_url(url)


def text_lines(url: str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8, with or without a byte order mark. Raises UserError for other bytes."""
    with open_file(url) as file:
        try:
            yield from codecs.iterdecode(file, "utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{url} is not UTF-8 text; save it as such") from None


def _find(url: str, ending: str | tuple[str, ...]) -> list[FileOfSource]:
    try:
        if url.endswith(LIST_ENDING):
            full = [named_by(url, name) for line in text_lines(url) if (name := line.strip())]
            return [FileOfSource(name, None) for name in full if name.endswith(ending)]
        file_system, path = file_system_of(url)
        if "*" in path:
            details = file_system.glob(path, detail=True)
        elif path.endswith(ending):
            details = {path: file_system.info(path)}
        elif WALKED.intersection(file_system.protocol):
            details = dict(_walk(file_system, path))
        else:  # buckets and hubs list everything below a prefix at once
            details = file_system.find(path, detail=True)
    except FileNotFoundError as error:
        if told(error, url) is error:
            return []
        raise UserError(f"source {url!r} cannot be read: {told(error, url)}") from None
    except UserError:
        raise
    except Exception as error:  # each file system has its own: no such protocol, no package, no host, no credentials
        raise UserError(f"source {url!r} cannot be read: {' '.join(str(error).split())}") from None
    return [
        FileOfSource(file_system.unstrip_protocol(name) if "://" in url else name, detail.get("size"))
        for name, detail in details.items()
        if name.endswith(ending)
    ]


def _walk(file_system: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every file below a folder, but those of mel shards that this program makes or has made there.

    fsspec's own walk leaves out, silently, a folder that cannot be listed.
    """
    details = file_system.ls(path, detail=True)
    if any(detail["name"].rstrip("/").rpartition("/")[2] in MADE_HERE for detail in details):
        return
    for detail in details:
        if detail["type"] != "directory":
            yield detail["name"], detail
        elif detail["name"].rstrip("/") != path.rstrip("/"):
            yield from _walk(file_system, detail["name"])
