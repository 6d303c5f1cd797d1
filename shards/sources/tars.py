"""Members of a tar, read front to back, and nothing of it lost in silence.

Python's tarfile takes whatever follows a damaged header, or a cut between two members, for the end of the archive. Here
an archive ends with its end blocks, or its task fails.
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from audio_tokens.shards.sources.files import open_file

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# A larger member is not read: a sparse one of a few KB may claim terabytes.
MEMBER_BYTES = 1 << 28
READ_BYTES = 1 << 20


class Member(NamedTuple):
    """A file of an archive; `problem` says why `data` is None."""

    name: str
    data: bytes | None
    problem: str = ""


class StrictTarInfo(tarfile.TarInfo):
    """A header that is damaged or missing is an error, not the end."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):  # type: ignore[no-untyped-def]
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            why = "its end blocks are missing" if not buf else f"damaged: {error}"
            raise tarfile.ReadError(f"the archive does not end where it should: {why}") from None


def tar_members(url: str) -> Iterator[Member]:
    """Yield every file of a tar, compressed or not, with what is no UTF-8 in its name spelt out.

    Hard links stand for what they link to. Left out is only what a Mac adds (`._x`, `.DS_Store`). Raises
    tarfile.ReadError for an archive that is damaged, cut, or all zeros, after the members before that place and, with
    this for its problem, the one it breaks off in.
    """
    with open_file(url) as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=StrictTarInfo) as tar:
        plain = tar.fileobj.comptype == "tar"  # type: ignore[union-attr, attr-defined]
        places: dict[str, tuple[int, int]] = {}
        for member in tar:
            name = member.name.encode("utf-8", "backslashreplace").decode()
            if not member.isdir() and not _is_of_a_mac(name):
                if member.isreg() and not member.issparse() and plain:
                    places[member.name] = (member.offset_data, member.size)
                try:
                    found = _read(tar, member, name, places, url)
                except (tarfile.ReadError, EOFError, OSError, zlib.error) as error:
                    yield Member(name, None, f"cut off where the archive breaks off: {error}")
                    raise
                yield found
            tar.members.clear()  # type: ignore[attr-defined]  # a list of all that was seen, 20,000 long in AudioSet's tars
        if not tar.offset:
            raise tarfile.ReadError("the archive begins with zeros: it holds no file")
        while rest := tar.fileobj.read(READ_BYTES):  # type: ignore[union-attr]
            if rest.strip(b"\0"):
                raise tarfile.ReadError("something follows the archive's end: a damaged header, or a second one")


def _read(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, places: dict[str, tuple[int, int]], url: str
) -> Member:
    if member.islnk():
        place = places.get(member.linkname)
        if place is None:
            return Member(name, None, f"a hard link to {member.linkname!r}, which is not in the archive before it")
        with open_file(url) as again:
            again.seek(place[0])
            return Member(name, again.read(place[1]))
    if not member.isreg():
        kind = f"a symbolic link to {member.linkname!r}" if member.issym() else "a device"
        return Member(name, None, f"{kind}, not a file")
    if member.size > MEMBER_BYTES:
        return Member(name, None, f"{member.size} bytes in an archive; at most {MEMBER_BYTES} are read")
    content = tar.extractfile(member)
    assert content is not None
    return Member(name, content.read())


def _is_of_a_mac(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith("._") or path.name == ".DS_Store" or "__MACOSX" in path.parts
