"""From the command line to a frozen dataclass, and from an exception to one line and an exit code.

Exit codes: 0 done, 1 some tasks failed, 2 a user's mistake, 130 and 143 interrupted and resumable.
Other exceptions are bugs and keep their traceback.
"""

import errno
import json
import logging
import re
import sys
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter

from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.errors import UserError, did_you_mean, masked
from audio_tokens.interrupts import repeated_interrupt
from audio_tokens.jobs.display.loudness import OPTIONS as LOUDNESS
from audio_tokens.jobs.display.loudness import as_loud_as
from audio_tokens.jobs.plain_yaml import plain_yaml
from audio_tokens.jobs.training_recipe import PARTS, Trainable
from audio_tokens.jobs.typed import one_line
from audio_tokens.shards.publish import is_full, no_room

T = TypeVar("T")

# What a path on the line may turn out to be; every other OSError is a bug, or a disk's.
UNUSABLE_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
UNKNOWN = re.compile(r"unrecognized arguments: --([^\s=]+)|(?:Group '([^']+)' does not accept option|Option) '([^']+)'")
OF_SYSTEM = re.compile(r"--recipe\.systems\.([\w-]+)\.(\w+)")
TRAINED_BY = frozenset(field.name for field in fields(TrainConfig))
UNUSABLE_ERRNOS = (errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP)
BROKEN_ERRNOS = (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
# What the libraries between processes say when one of them ends, or its host is no longer reached.
LOST_PEER = re.compile(
    r"(?<=\] ).*([Tt]imed out|by peer|Broken pipe|(Read|Write) error \[).*"
    r"|remote process exited or there was a network error"
)
MOST_SAID = 900  # characters of a message
NO_MEMORY = re.compile(r"can't allocate memory|out of memory|Unable to allocate", re.IGNORECASE)


def command(
    config: type[T],
    run: Callable[[T], int | None],
    argv: Sequence[str] | None = None,
    *,
    positional: str | None = None,
    options: Callable[[str | None], Trainable] | None = None,
    epilog: Callable[[], str] = str,
) -> int:
    """Parse `argv` into the dataclass `config`, run it, and return the exit code.

    `positional` names the field (a tuple of strings) that takes the words without an option name; `options` says what
    can be chosen about the system that the line names, if it does, and fills the field `options`; `epilog` ends
    the help.
    """
    prog = "audio-tokens " + re.sub(r"(?<=[a-z])(?=[A-Z])", "-", config.__name__).lower()
    try:
        words = sys.argv[1:] if argv is None else argv
        ends = epilog() if {"-h", "--help"} & set(words) else ""
        request = parse(config, words, prog=prog, positional=positional, options=options, epilog=ends)
        with repeated_interrupt(), as_loud_as(words):
            return run(request) or 0
    except UserError as mistake:
        print(masked(f"{prog}: error: {_shortened(str(mistake))}"), file=sys.stderr)
        return 2
    except (OSError, MemoryError, RuntimeError) as error:
        if (cause := _of_the_machine(error)) is None:
            raise
        print(masked(f"{prog}: error: {_shortened(cause)}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # zarr reads by it, and what it left undone is told at the end
        print(f"{prog}: interrupted; the same command resumes", file=sys.stderr)
        return 130


def _shortened(line: str) -> str:
    """Return a message that can be read: what it quotes may be of any length."""
    return line if len(line) <= MOST_SAID else f"{line[: MOST_SAID // 2]} ... {line[-MOST_SAID // 2 :]}"


def _of_the_machine(error: Exception) -> str | None:
    """Return in one line what a machine lacks or where it is broken; None for what is a bug of this program."""
    if isinstance(error, OSError):
        where, why = error.filename or "a path", error.strerror or error
        if isinstance(error, UNUSABLE_PATHS) or error.errno in UNUSABLE_ERRNOS:
            return f"cannot use {where}: {why}; choose another path"
        if is_full(error):
            return str(no_room(where))
        if isinstance(error, ConnectionError):
            return str(error)
        if error.errno in BROKEN_ERRNOS:
            return f"cannot use {where}: {why}; mend that, and give the same command again"
    elif lost := LOST_PEER.search(str(error)):
        return f"another process of this job is gone ({lost[0]}); the same command on every host resumes"
    elif isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return f"not enough memory ({' '.join(str(error).split())[:200]}); ask for less, or take a larger machine"
    return None


def parse(
    config: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    positional: str | None = None,
    options: Callable[[str | None], Trainable] | None = None,
    epilog: str = "",
) -> T:
    """Return `config` filled from `argv`: YAML first, then dotted overrides, whatever their order on the line.

    The defaults of `--options` are the system's, and over them what the recipe says.
    Raises UserError with one line for an unknown option (with the nearest one), a wrong value or a missing one.
    """
    parser = ArgumentParser(
        prog=prog,
        description=(config.__doc__ or "").split("\n", 1)[0],
        exit_on_error=False,
        formatter_class=_Plain,
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="a YAML file with any of the options below")
    for option, (_, meaning) in LOUDNESS.items():
        parser.add_argument(option, action="store_true", help=meaning)
    if positional:
        parser.add_argument(positional, nargs="+", help="see above")
    parser.add_class_arguments(config, skip={name for name in (positional, options and "options") if name})
    types = option_types(config)
    try:
        words = _files_first(argv, get_type_hints(config).get("recipe"))
        if options:
            chosen = options(_last(argv, "system"))
            unused = {field.name for field in fields(chosen.options)} - set(chosen.names)
            parser.add_class_arguments(chosen.options, "options", skip=unused)
            types |= option_types(chosen.options, "--options.")
            with suppress(ArgumentError):  # a mistake elsewhere on the line is met again below
                recipe = parser.instantiate(parser.parse_args(_spelt_out(_without_questions(words), types)))["recipe"]
                parser.set_defaults({f"options.{name}": value for name, value in chosen.laid_over(recipe).items()})
        values = parser.instantiate(parser.parse_args(_spelt_out(words, types)))
    except ArgumentError as error:
        raise UserError(_answered(str(error), parser)) from None
    except UserError:
        raise
    except (TypeError, ValueError) as error:  # a dataclass refused its own value
        raise UserError(_answered(str(error), parser)) from None
    given = {f.name: values[f.name] for f in fields(config)}  # type: ignore[arg-type]
    return config(**(given | {positional: tuple(given[positional])} if positional else given))


class _Plain(DefaultHelpFormatter):
    """Shows a range beside its type, `int, 1 or more`, and leaves the lines of a text as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in text.splitlines())

    def _expand_help(self, action: Any) -> str:
        return re.sub(r"Annotated\[(\w+), ([^\]]*)\]", r"\1, \2", super()._expand_help(action))


def recipe_file(name_or_file: str) -> Path:
    """Return the YAML file of a recipe: a packaged name ('default') or a path. Raises UserError for neither."""
    files = [Path(str(file)) for file in resources.files("audio_tokens.jobs.recipes").iterdir()]
    packaged = {file.stem: file for file in files if file.suffix == ".yaml"}
    if name_or_file in packaged:
        return packaged[name_or_file]
    if Path(name_or_file).is_file():
        return Path(name_or_file)
    raise UserError(f"recipe {name_or_file!r} is neither a file nor one of: {', '.join(sorted(packaged))}")


def _files_first(argv: Sequence[str], recipe: type | None) -> list[str]:
    """Move `--config X` and `--recipe X` ahead of everything, so that dotted overrides win from any place.

    A recipe's file becomes its contents, as far as the command's `recipe` has these parts, with what the line says of
    one system's options (`--recipe.systems.SYSTEM.NAME`) laid over them: the parser would drop the system's others.
    """
    files: dict[str, str] = {}
    of_systems: dict[str, dict[str, Any]] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        of_system = OF_SYSTEM.fullmatch(option) if recipe is not None else None
        if option not in ("--config", "--recipe") and not of_system:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if of_system:
            of_systems.setdefault(of_system[1], {})[of_system[2]] = _value(word, value)
        else:
            files[option] = value
    if Path(files.get("--config", "")).is_file():
        read_yaml(Path(files["--config"]))  # the parser itself takes any
    if recipe is not None and ("--recipe" in files or of_systems):
        parts = _parts(recipe_file(files["--recipe"])) if "--recipe" in files else {}
        parts = {name: part for name, part in parts.items() if name in {f.name for f in fields(recipe)}}
        if of_systems:
            systems = parts.get("systems") or {}
            over = {name: (systems.get(name) or {}) | options for name, options in of_systems.items()}
            parts["systems"] = systems | over
        files["--recipe"] = json.dumps(parts)
    return [word for option in sorted(files) for word in (option, files[option])] + rest


def _value(option: str, text: str) -> Any:
    try:
        return plain_yaml(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _parts(recipe: Path) -> dict[str, Any]:
    """Return the parts of the recipe in a file, by whose name it goes. Raises UserError for a part that is none."""
    parts = read_yaml(recipe)
    for part in parts:
        if part not in PARTS:
            raise UserError(f"{recipe} has the unknown part {part!r}; {did_you_mean(str(part), PARTS)}")
    return parts | {"name": recipe.stem}


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file. Raises UserError where it holds none."""
    try:
        found = plain_yaml(file.read_bytes()) or {}
    except ValueError as error:
        raise UserError(f"{file} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} holds no names with values, as `slices: {{stride: 2}}` is")
    return found


def _last(argv: Sequence[str], name: str) -> str | None:
    """Return what a line says of `--name`, on it or else in its `--config`; None where it says nothing."""
    said = dict(_options(argv))
    if f"--{name}" in said or "--config" not in said or not Path(said["--config"]).is_file():
        return said.get(f"--{name}")
    return read_yaml(Path(said["--config"])).get(name)


def _options(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every option of a line with its value, or the word that follows."""
    for word, following in zip(argv, [*argv[1:], ""], strict=False):
        option, equals, value = word.partition("=")
        yield option, value if equals else following


def _without_questions(argv: Sequence[str]) -> list[str]:
    return [word for word in argv if word not in ("-h", "--help") and not word.startswith("--print_config")]


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


# What other programs call an option, or what it is called for short.
ALSO_CALLED = {
    **dict.fromkeys(("k", "K", "n_clusters", "num_clusters", "clusters_count", "vocab_size"), "clusters"),
    **dict.fromkeys(("lr", "rate"), "learning_rate"),
    **dict.fromkeys(("batch", "batch_size", "bs"), "batch_clips"),
    **dict.fromkeys(("output", "output_dir", "out_dir", "o"), "out"),
    **dict.fromkeys(("j", "jobs", "num_workers", "n_jobs", "processes"), "workers"),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("model", "checkpoint"), "run"),
    **dict.fromkeys(("fold", "folds"), "test_fold"),
    **dict.fromkeys(("input", "data", "dataset"), "source"),
}


def _meant(name: str, known: Sequence[str]) -> str | None:
    """Return the known option that ends with the last word of `name`, or with what that is also called."""
    own = name.lstrip("-").rpartition(".")[2].replace("-", "_")
    for word in (own, ALSO_CALLED.get(own)):
        if found := [option for option in known if re.split(r"[.]|--", option)[-1] == word]:
            return min(found, key=len)
        if word in TRAINED_BY and "--recipe.train" in known:
            return f"--recipe.train.{word}"
    return None


def _answered(message: str, parser: ArgumentParser) -> str:
    """Fold an error of the parser into one line; an unknown option gets the nearest known one."""
    line = one_line(message)
    if not (unknown := UNKNOWN.search(line)):
        return line
    name = "--" + ".".join(filter(None, unknown.groups()))
    group, _, own = name.rpartition(".")
    known = [option for action in parser._actions for option in action.option_strings]
    if group == "--options":  # what other systems have is no answer
        known = [option for option in known if option.startswith("--options.")]
    if meant := _meant(name, known):
        hint = f"did you mean {meant}?"
    elif near := [option.removeprefix(f"{group}.") for option in known if group and option.startswith(f"{group}.")]:
        hint = did_you_mean(own, near, form=f"{group}.{{}}")
    else:
        hint = did_you_mean(name, known)
    return f"unknown option {name}; {hint}; --help lists the options of {parser.prog}"
