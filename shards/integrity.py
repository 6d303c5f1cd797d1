"""integrity.json: the sha256 of every file of an artefact, and of what it was made from.

    {"format", "version", "artefact", "parents": {role: id}, "files": {name: {"bytes", "sha256"}}, "id",
     "added": {name: {"bytes", "sha256"}}, "sha256"}

`id` is the sha256 of all before it and stays what it is for good: children name their parents by it. `added` are files
that came later (an evaluation of a run). `sha256` is that of the whole, so that the manifest tells of its own damage.
It holds no time, no host and no path outside the artefact: equal files from equal parents have equal manifests.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.publish import publish_bytes, sweep_below
from audio_tokens.shards.sources.addresses.remote import open_url

FORMAT, VERSION = "audio-tokens-integrity", 1
INTEGRITY = "integrity.json"


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """What a file's content is."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Integrity:
    """The manifest of an artefact of the format `artefact`; a parent without a manifest has no id."""

    artefact: str
    parents: Mapping[str, str | None]
    files: Mapping[str, FileEntry]
    added: Mapping[str, FileEntry] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Sha256 (64 hex digits) of what the artefact was when it was finished."""
        return _sha256(_json(self._lasting()))

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        body = self._lasting() | {"id": self.id, "added": _entries(self.added)}
        return _json(body | {"sha256": _sha256(_json(body))})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Integrity":
        """Return what `to_bytes` wrote. Raises ValueError, KeyError or TypeError for anything else, by a bit even."""
        values = json_of(data)
        found = cls(
            artefact=values["artefact"],
            parents=values["parents"],
            files={name: FileEntry(**entry) for name, entry in values["files"].items()},
            added={name: FileEntry(**entry) for name, entry in values["added"].items()},
        )
        if found.to_bytes() != data:
            raise ValueError("its own sha256 is another")
        return found

    def _lasting(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "artefact": self.artefact,
            "parents": dict(self.parents),
            "files": _entries(self.files),
        }


def seal(
    folder: Path,
    artefact: str,
    parents: Mapping[str, str | None],
    names: Iterable[str],
    known: Mapping[str, FileEntry] | None = None,
) -> None:
    """Publish the manifest of the files `names` of a finished artefact; those that are `known` are not read again."""
    known = known or {}
    files = {name: known[name] if name in known else entry_of(folder / name) for name in sorted(names)}
    publish_bytes(folder / INTEGRITY, Integrity(artefact=artefact, parents=parents, files=files).to_bytes())


def files_below(folder: Path) -> list[str]:
    """Return the names of all files in a folder, relative to it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def read_integrity(folder: Path) -> Integrity:
    """Return the manifest of an artefact. Raises UserError where there is none, or a damaged one."""
    try:
        return Integrity.from_bytes((folder / INTEGRITY).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder / INTEGRITY} is missing: {folder} was copied in part or made by an earlier version; make it again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{folder / INTEGRITY} is damaged ({said}); make {folder} again") from None


def id_of(location: str | Path) -> str | None:
    """Return the id of an artefact in a folder or under a URL, None where it has no manifest. Raises as the above."""
    if "://" not in str(location):
        return read_integrity(Path(location)).id if (Path(location) / INTEGRITY).exists() else None
    try:
        with open_url(f"{str(location).rstrip('/')}/{INTEGRITY}") as file:
            return Integrity.from_bytes(file.read()).id
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{location}/{INTEGRITY} is damaged ({error}); fetch it again") from None


def ids_of(**locations: str | None) -> dict[str, str | None]:
    """Return the id of each artefact that is named, by the role it is named in."""
    return {role: id_of(location) for role, location in locations.items() if location is not None}


def add_file(folder: Path, name: str, data: bytes) -> None:
    """Publish a file of a finished artefact beside its others, under the artefact's lock.

    Whenever the process is killed, every file that the manifest lists is as it says. An artefact without a manifest
    gets none by this. What an addition that was killed left is swept.
    """
    sweep_below(folder)
    if not (folder / INTEGRITY).exists():
        publish_bytes(folder / name, data)
        return
    found = read_integrity(folder)
    others = {other: entry for other, entry in found.added.items() if other != name}
    entry = FileEntry(bytes=len(data), sha256=_sha256(data))
    if name in found.added:
        publish_bytes(folder / INTEGRITY, replace(found, added=others).to_bytes())
    publish_bytes(folder / name, data)
    publish_bytes(folder / INTEGRITY, replace(found, added=others | {name: entry}).to_bytes())


def file_complaints(folder: Path, integrity: Integrity) -> Iterator[tuple[str, str | None]]:
    """Yield (file, what is wrong with it or None) for every file that the manifest lists."""
    for name, entry in sorted({**integrity.files, **integrity.added}.items()):
        yield name, _complaint(folder / name, entry)


def entry_of(path: Path) -> FileEntry:
    """Return size and sha256 of a file."""
    with path.open("rb") as file:
        return FileEntry(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=file.tell())


def _complaint(path: Path, entry: FileEntry) -> str | None:
    try:
        found = entry_of(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:  # a folder of that name, a bad block
        return f"unreadable: {error.strerror}"
    if found.bytes != entry.bytes:
        return f"torn: {found.bytes} bytes, {INTEGRITY} says {entry.bytes}"
    return None if found == entry else f"damaged: its sha256 is not the one in {INTEGRITY}"


def _entries(files: Mapping[str, FileEntry]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in sorted(files.items())}


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
