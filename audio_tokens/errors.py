"""What all rooms call a user's mistake, and how they answer a mistyped name."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 30  # AudioSet alone has 527 names


class UserError(ValueError):
    """A mistake of the caller's: one line that names the value and the remedy. Every other exception is a bug."""


class ClipError(UserError):
    """A clip that cannot be used; the message is the reason it is rejected with."""


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
