"""What all rooms call a user's mistake, and how they answer a mistyped name or a damaged file."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SECRETS = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"  # who:password@host
    r"|(?<=[?&])((?:[\w-]*(?:token|key|secret|signature|password|credential|sig)[\w-]*)=)[^&#\s'\"]+",
    re.IGNORECASE,
)
MOST_LISTED = 30  # AudioSet alone has 527 names


class UserError(ValueError):
    """A mistake of the caller's: one line that names the value and the remedy. Every other exception is a bug."""

    def __init__(self, line: str) -> None:
        super().__init__(" ".join(line.splitlines()))  # a library's reason, quoted in it, may have several


class ClipError(UserError):
    """A clip that cannot be used; the message is the reason it is rejected with."""


def damaged(file: Path, reason: object) -> UserError:
    """Return what to raise where a file is not what it was written as."""
    return UserError(f"{file} is damaged ({' '.join(str(reason).split())}); `audio-tokens verify` tells more")


def json_of(data: bytes | str) -> Any:
    """Return what a JSON file holds. Raises ValueError for what is none, and for one that is nested without end."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def checked(values: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Return `values`, as read from a file, if they are a mapping that has all these keys with values of these kinds.

    A truth value is no number here. Raises ValueError with what is missing or of another kind.
    """
    if not isinstance(values, dict):
        raise ValueError("it holds no mapping")
    for key, kind in kinds.items():
        if key not in values:
            raise ValueError(f"{key} is missing")
        kinds_of_key = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(values[key], kind) or (isinstance(values[key], bool) and bool not in kinds_of_key):
            raise ValueError(f"{key} is {values[key]!r:.60}")
    return values


def masked(text: str) -> str:
    """Return a text without the passwords and keys in the addresses that it names, to be kept or said."""
    return SECRETS.sub(lambda found: f"{found[1] or ''}***", text)


def did_you_mean(name: str, known: Iterable[str], *, form: str = "{}") -> str:
    """Return the hint that ends a message about an unknown `name`: the nearest of `known`, or all of them.

    `form` is how a name is written, say "--{}" or "{}:".
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {form.format(near[0])}?"
    listed = ", ".join(map(form.format, names[:MOST_LISTED]))
    return f"known: {listed}{' ...' if len(names) > MOST_LISTED else ''}" if names else "there is none"
