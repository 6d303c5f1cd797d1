"""Plain values (of a command line, of a YAML file) as the fields of a configuration dataclass want them typed.

Whatever does not fit is one line that names the option, the value and what it must be.
"""

import re
from argparse import ArgumentError
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from jsonargparse import ArgumentParser

from audio_tokens.engine.ranges import check_values
from audio_tokens.errors import UserError, did_you_mean

WRONG = re.compile(r'Parser key "(?P<name>[^"]+)".*?Expected an? (?P<kind>.+?)\. Got value: (?P<value>.*)')
KINDS = {"int": "a whole number", "float": "a finite number", "bool": "true or false", "str": "text", "tuple": "a list"}


def typed(config: type, values: Mapping[str, Any], where: str, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return `values` with the types of the dataclass' fields: 3 where 3.0 is meant, a word where a choice is.

    `where` precedes a name in a message; `names` are the options that may be given, all fields unless said otherwise.
    Raises UserError for an unknown name (with the nearest one), a wrong type or a number outside its range.
    """
    known = [field.name for field in fields(config)] if names is None else list(names)
    for name in values:
        if name not in known:
            raise UserError(f"unknown option {where}{name}; {did_you_mean(name, known)}")
    if not values:
        return {}  # no parser to be made, which takes 10 ms
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(config, fail_untyped=False)
    try:
        found = parser.parse_object(dict(values), defaults=False).as_dict()
    except ArgumentError as error:
        raise UserError(where + one_line(str(error))) from None
    for name, value in found.items():
        if value is None:
            raise UserError(f"{where}{name} is null; give it a value or leave it out")
    check_values(found, config, where)
    return found


def one_line(message: str) -> str:
    """Fold an error of the parser into one line; of a wrong value: its name, the value and what it must be."""
    line = " ".join(message.split())
    if not (wrong := WRONG.search(line)):
        return line
    kind = wrong["kind"].removeprefix("<class '").removesuffix("'>")
    if choices := re.match(r"(?:typing\.)?Literal\[(.*)\]", kind):
        kind = f"one of {choices[1]}".replace("'", "")
    return f"{wrong['name']} is {wrong['value']}; it must be {KINDS.get(kind, kind)}"
