"""YAML as plain values, of a size that can be handled.

A file of a few lines can name a value that names a value ... and so stand for billions (an alias bomb): the parser
shares them, and whoever writes them out again or walks over them never ends.
"""

from typing import Any

import yaml

MOST_VALUES = 100_000  # in a file, aliases written out; a recipe has a hundred


def plain_yaml(text: str | bytes) -> Any:
    """Return the values in a YAML text. Raises ValueError, in one line, where it is none or stands for too many."""
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    _count(found, {})
    return found


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values one stands for; one that is met again is not walked again."""
    if not isinstance(value, dict | list | tuple | set):
        return 1
    if known.get(id(value)) == 0:
        raise ValueError("a value holds itself")
    if id(value) not in known:
        known[id(value)] = 0  # under way
        parts = [*value, *value.values()] if isinstance(value, dict) else list(value)
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    if known[id(value)] > MOST_VALUES:
        raise ValueError(f"it stands for more than {MOST_VALUES:,} values")
    return known[id(value)]
