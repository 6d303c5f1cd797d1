"""Names that braces make, `{a,b}` and `{00..99}`, as long as there are not too many of them."""

import re

from braceexpand import braceexpand

from audio_tokens.errors import UserError

MOST_PARTS = 100_000  # each is looked for
RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(\.\.-?\d+)?")


def braced(url: str) -> list[str]:
    """Return the names that braces make: `{a,b}`, `{00..99}`. Raises UserError for more than MOST_PARTS.

    A nest of braces multiplies inside, before a name comes out: they are counted first.
    """
    try:
        if most_names(url) <= MOST_PARTS:
            return list(braceexpand(url))
    except (ValueError, RecursionError) as error:
        raise UserError(f"source {url!r:.200}: {error}") from None
    raise UserError(
        f"source {url!r:.200}: its braces make more than {MOST_PARTS:,} names; name a folder, or a list (.txt)"
    )


def most_names(pattern: str) -> int:
    """Return how many names braces make, at the most, without making them. Raises ValueError where they do not pair."""
    pattern = re.sub(r"\\.", "", pattern)  # `\\{` is a brace of a name
    around: list[tuple[int, int]] = []  # of each open brace: what stood before it
    done, names, start = 0, 1, 0  # names of the alternatives before the last comma, and of the one at hand
    for place, mark in enumerate(pattern):
        if mark == "{":
            around.append((done, names))
            done, names, start = 0, 1, place + 1
        elif mark == "," and around:
            done, names = done + names, 1
        elif mark == "}":
            if not around:
                raise ValueError("Unbalanced braces")
            span = RANGE.fullmatch(pattern[start:place])
            made = abs(int(span[2]) - int(span[1])) + 1 if span else done + names
            done, names = around.pop()
            names *= made
    if around:
        raise ValueError("Unbalanced braces")
    return names
