"""Ranges of options, stated once where an option is declared: `epochs: Count`; light, since `--help` reads them.

A type checker sees the plain type; the command line shows the range; `check` refuses what lies outside.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from audio_tokens.errors import UserError


@dataclass(frozen=True, repr=False)
class Range:
    """The finite numbers from `low` to `high`; `above` and `below` leave that end itself out."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.low < value if self.above else self.low <= value)
            and (value < self.high if self.below else value <= self.high)
        )

    def __repr__(self) -> str:  # what `--help` and messages say
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        if self.above:
            return (
                f"between {self.low:g} and {self.high:g}" if self.below else f"above {self.low:g}, up to {self.high:g}"
            )
        return f"from {self.low:g} to {'below ' if self.below else ''}{self.high:g}"


LARGEST = 2**63 - 1  # whole number that libraries take; a number of lines or of seconds is far below

Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Layers = Annotated[int, Range(1, 100)]  # of a model; each takes a moment to make, however small it is
LayersOrNone = Annotated[int, Range(0, 100)]
Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
ShareBelow1 = Annotated[float, Range(0, 1, below=True)]
ShareAbove0 = Annotated[float, Range(0, 1, above=True)]
InnerShare = Annotated[float, Range(0, 1, above=True, below=True)]


@cache
def ranges_of(config: type) -> dict[str, Range]:
    """Return the range of every field of a dataclass that has one: of its value, or of a tuple's entries."""
    hints = get_type_hints(config, include_extras=True)
    found = {field.name: _range(hints[field.name]) for field in fields(config)}
    return {name: range_ for name, range_ in found.items() if range_ is not None}


def check(config: Any, prefix: str = "") -> None:
    """Raise UserError where a field of the dataclass `config` lies outside its range; `prefix` precedes the name."""
    check_values(vars(config), config.__class__, prefix)


def check_values(values: Mapping[str, Any], config: type, prefix: str = "") -> None:
    """Raise UserError where one of `values` lies outside the range of the field of that name of a dataclass."""
    ranges = ranges_of(config)
    for name, value in values.items():
        range_ = ranges.get(name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if range_ is not None and number is not None and number not in range_:
                raise UserError(f"{prefix}{name} is {number}; it must be {range_}")
            if isinstance(number, int) and abs(number) > LARGEST:
                raise UserError(f"{prefix}{name} is {number}; it must be {LARGEST} or less")


def _range(hint: Any) -> Range | None:
    if get_origin(hint) is Annotated:
        return next(note for note in get_args(hint)[1:] if isinstance(note, Range))
    return next((found for part in get_args(hint) if (found := _range(part)) is not None), None)
