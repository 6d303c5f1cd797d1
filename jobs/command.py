"""From the command line to a frozen dataclass, and from an exception to one line and an exit code.

Exit codes: 0 done, 1 some tasks failed, 2 a user's mistake, 130 and 143 interrupted and resumable.
Other exceptions are bugs and keep their traceback.
"""

import difflib
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import ActionConfigFile, ArgumentParser

from engine.errors import EngineError
from jobs.errors import JobError
from shards.errors import ShardsError

T = TypeVar("T")

USER_MISTAKES = (EngineError, ShardsError, JobError)


def command(
    config: type[T], run: Callable[[T], int | None], argv: Sequence[str] | None = None, *, positional: str | None = None
) -> int:
    """Parse `argv` into the dataclass `config`, run it, and return the exit code.

    `positional` names the field (a list of strings) that takes the words without an option name.
    """
    prog = f"audio-tokens {config.__name__.lower().replace('_', '-')}"
    try:
        return run(parse(config, sys.argv[1:] if argv is None else argv, prog=prog, positional=positional)) or 0
    except USER_MISTAKES as mistake:
        print(f"{prog}: error: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; the same command resumes", file=sys.stderr)
        return 130


def parse(config: type[T], argv: Sequence[str], *, prog: str, positional: str | None = None) -> T:
    """Return `config` filled from `argv`: YAML first, then dotted overrides, whatever their order on the line.

    Raises JobError with one line for an unknown option (with the nearest one), a wrong value or a missing one.
    """
    parser = ArgumentParser(prog=prog, description=(config.__doc__ or "").split("\n", 1)[0], exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of the options below")
    if positional:
        parser.add_argument(positional, nargs="+", help="see above")
    parser.add_class_arguments(config, skip={positional} if positional else None)
    try:
        parsed = parser.parse_args(_files_first(argv))
        values = parser.instantiate(parsed)
    except ArgumentError as error:
        raise JobError(_one_line(str(error), parser)) from None
    except USER_MISTAKES:
        raise
    except (TypeError, ValueError) as error:  # a dataclass refused its own value
        raise JobError(_one_line(str(error), parser)) from None
    return config(**{name: value for name, value in values.items() if name in config.__dataclass_fields__})  # type: ignore[attr-defined]


def recipe_file(name_or_file: str) -> Path:
    """Return the YAML file of a recipe: a packaged name ('default') or a path. Raises JobError for neither."""
    packaged = {Path(str(f)).stem: Path(str(f)) for f in resources.files("jobs.recipes").iterdir() if f.name.endswith(".yaml")}
    if name_or_file in packaged:
        return packaged[name_or_file]
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise JobError(f"recipe {name_or_file!r} is neither a file nor one of: {', '.join(sorted(packaged))}")


def _files_first(argv: Sequence[str]) -> list[str]:
    """Move `--config X` and `--recipe X` ahead of everything, so that dotted overrides win from any place on the line."""
    files: dict[str, str] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in ("--config", "--recipe"):
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        files[option] = str(recipe_file(value)) if option == "--recipe" else value
    return [word for option in sorted(files) for word in (option, files[option])] + rest


def _one_line(message: str, parser: ArgumentParser) -> str:
    """Fold an error of the parser into one line; an unknown option gets the nearest known one."""
    line = " ".join(message.split())
    if "unrecognized arguments:" in line:
        unknown = line.split("unrecognized arguments:", 1)[1].split()[0].split("=")[0]
        known = [name for action in _actions(parser) for name in action.option_strings]
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"--help lists the options of {parser.prog}"
        return f"unknown option {unknown}; {hint}"
    return line


def _actions(parser: ArgumentParser) -> list[Any]:
    return list(parser._actions)
