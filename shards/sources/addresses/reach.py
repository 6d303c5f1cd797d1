"""Where a list may reach.

A list on this machine is its user's own: it may name any regular file, and URLs of the schemes below. A list that came
from elsewhere (a URL, a hub) names only what lies below its own folder. A device, a pipe, a socket and what the kernel
makes up (/proc, /sys, /dev) are never read, and neither are other schemes or chains of them (`zip::http://...`), unless
`--allow` names them.
"""

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from audio_tokens.errors import UserError

SCHEMES = ("file", "http", "https", "s3", "gs", "hf")
MADE_UP = ("/proc", "/sys", "/dev")
_allowed: set[str] = set()  # the process's own permission, given once on the command line


def allow(schemes: Iterable[str]) -> None:
    """Let addresses have these schemes too, as long as this process lives."""
    _allowed.update(schemes)


def allowed() -> tuple[str, ...]:
    """Return the schemes that `allow` was told of, for the processes that work for this one."""
    return tuple(sorted(_allowed))


def permitted(url: str) -> str:
    """Return an address whose schemes may be read. Raises UserError for another, naming the option that permits it."""
    for scheme in _schemes(url):
        if scheme not in SCHEMES and scheme not in _allowed:
            raise UserError(f"{url} has the scheme {scheme!r}, not {', '.join(SCHEMES)}; --allow {scheme} permits it")
    return url


def named_by(list_url: str, name: str) -> str:
    """Return the address that a list names, relative to the list's folder. Raises UserError where it may not."""
    base = list_url.rpartition("/")[0] or "."
    url = permitted(name if _schemes(name) or name.startswith("/") else f"{base}/{name}")
    from_elsewhere = "://" in list_url and not list_url.startswith("file://")
    if from_elsewhere and (not url.startswith(f"{base}/") or ".." in re.split(r"[/\\]", unquote(url))):
        raise UserError(f"{list_url} names {name!r}, which does not lie below it; copy the list here to read that too")
    return url


def _schemes(url: str) -> list[str]:
    """Return the schemes of an address, several of a chain (`simplecache::s3://x`), none of a path."""
    *chained, last = url.split("::")
    return [part.partition("://")[0] for part in chained] + ([last.partition("://")[0]] if "://" in last else [])


def is_plain_file(path: Path) -> bool:
    """Whether a path is a regular file of a disk: a pipe never answers, and /dev/zero never ends.

    Raises OSError where there is nothing.
    """
    kept = not any(path.resolve().is_relative_to(folder) for folder in MADE_UP)
    return kept and stat.S_ISREG(path.stat().st_mode)
