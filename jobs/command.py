"""From the command line to a frozen dataclass, and from an exception to one line and an exit code.

Exit codes: 0 done, 1 some tasks failed, 2 a user's mistake, 130 and 143 interrupted and resumable.
Other exceptions are bugs and keep their traceback.
"""

import errno
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser

from audio_tokens.errors import UserError, did_you_mean

T = TypeVar("T")

# What a path on the line may turn out to be; every other OSError is a bug, or a disk's.
UNUSABLE_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
UNUSABLE_ERRNOS = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)


def command(
    config: type[T], run: Callable[[T], int | None], argv: Sequence[str] | None = None, *, positional: str | None = None
) -> int:
    """Parse `argv` into the dataclass `config`, run it, and return the exit code.

    `positional` names the field (a tuple of strings) that takes the words without an option name.
    """
    prog = "audio-tokens " + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", config.__name__).lower()
    try:
        return run(parse(config, sys.argv[1:] if argv is None else argv, prog=prog, positional=positional)) or 0
    except UserError as mistake:
        print(f"{prog}: error: {mistake}", file=sys.stderr)
        return 2
    except OSError as error:
        if not isinstance(error, UNUSABLE_PATHS) and error.errno not in UNUSABLE_ERRNOS:
            raise
        where, why = error.filename or "a path", error.strerror or error
        print(f"{prog}: error: cannot use {where}: {why}; choose another path", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; the same command resumes", file=sys.stderr)
        return 130


def parse(config: type[T], argv: Sequence[str], *, prog: str, positional: str | None = None) -> T:
    """Return `config` filled from `argv`: YAML first, then dotted overrides, whatever their order on the line.

    Raises UserError with one line for an unknown option (with the nearest one), a wrong value or a missing one.
    """
    parser = ArgumentParser(prog=prog, description=(config.__doc__ or "").split("\n", 1)[0], exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of the options below")
    if positional:
        parser.add_argument(positional, nargs="+", help="see above")
    parser.add_class_arguments(config, skip={positional} if positional else None)
    try:
        parsed = parser.parse_args(_spelt_out(_files_first(argv), option_types(config)))
        values = parser.instantiate(parsed)
    except ArgumentError as error:
        raise UserError(_one_line(str(error), parser)) from None
    except UserError:
        raise
    except (TypeError, ValueError) as error:  # a dataclass refused its own value
        raise UserError(_one_line(str(error), parser)) from None
    chosen = {f.name: values[f.name] for f in fields(config)}  # type: ignore[arg-type]
    return config(**(chosen | {positional: tuple(chosen[positional])} if positional else chosen))


def recipe_file(name_or_file: str) -> Path:
    """Return the YAML file of a recipe: a packaged name ('default') or a path. Raises UserError for neither."""
    files = [Path(str(file)) for file in resources.files("audio_tokens.jobs.recipes").iterdir()]
    packaged = {file.stem: file for file in files if file.suffix == ".yaml"}
    if name_or_file in packaged:
        return packaged[name_or_file]
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise UserError(f"recipe {name_or_file!r} is neither a file nor one of: {', '.join(sorted(packaged))}")


def _files_first(argv: Sequence[str]) -> list[str]:
    """Move `--config X` and `--recipe X` ahead of everything, so that dotted overrides win from any place."""
    files: dict[str, str] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        if option not in ("--config", "--recipe"):
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        files[option] = value
    if "--recipe" in files:
        path = recipe_file(files["--recipe"])
        files |= {"--recipe": str(path), "--recipe.name": path.stem}
    return [word for option in sorted(files) for word in (option, files[option])] + rest


def option_types(config: type, prefix: str = "--") -> dict[str, Any]:
    """Return every option of a configuration dataclass with its type, nested ones as `--outer.inner`."""
    hints = get_type_hints(config)
    types: dict[str, Any] = {}
    for field in fields(config):
        types[prefix + field.name] = hints[field.name]
        if is_dataclass(hints[field.name]):
            types |= option_types(hints[field.name], f"{prefix}{field.name}.")
    return types


def _spelt_out(argv: Sequence[str], types: dict[str, Any]) -> list[str]:
    """Let people type `--force` for true, `--seeds 0,1` for `--seeds=[0,1]` and `--test-fold` for `--test_fold`."""
    spelt: list[str] = []
    words = iter([*(_underscored(word, types) for word in argv), "--"])
    word = next(words)
    for following in words:
        option, equals, value = word.partition("=")
        takes_next = not equals and not following.startswith("--")
        if types.get(option) is bool and not equals and following not in ("true", "false"):
            word = f"{option}=true"
        elif get_origin(types.get(option)) is tuple and (equals or takes_next):
            value = value if equals else following
            word = f"{option}={value if value.startswith('[') else f'[{value}]'}"
            if takes_next:
                following = next(words, "--")
        spelt.append(word)
        word = following
    return spelt


def _underscored(word: str, types: dict[str, Any]) -> str:
    """Put underscores for an option's dashes, as far as it is ours to name: below a mapping keys stand as typed."""
    option, equals, value = word.partition("=")
    if not option.startswith("--"):
        return word
    ours = f"--{option[2:].replace('-', '_')}"
    for name, kind in types.items():
        if get_origin(kind) is dict and ours.startswith(f"{name}."):
            ours = name + option[len(name) :]
    return f"{ours}{equals}{value}"


def _one_line(message: str, parser: ArgumentParser) -> str:
    """Fold an error of the parser into one line; an unknown option gets the nearest known one."""
    line = " ".join(message.split())
    if "unrecognized arguments:" in line:
        unknown = line.split("unrecognized arguments:", 1)[1].split()[0].split("=")[0]
        known = [name for action in parser._actions for name in action.option_strings]
        return f"unknown option {unknown}; {did_you_mean(unknown, known)}; --help lists the options of {parser.prog}"
    return line
