"""sweep: recipes x systems x seeds in sequence, resumable, one leaderboard."""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command, parse, read_yaml, recipe_file
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.training_recipe import NAME

MOST_RECIPES = 10_000  # at a minute each, a week


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run every recipe of a grid with every system and seed; the same command goes on where it was stopped.

    Args:
        source: as for `run`
        work: the folder that holds all artefacts and the one leaderboard
        recipe_grid: a packaged grid's name (grid-2024) or a YAML file
        folds: test every fold once, fitting on the others
        workers: processes that build and encode; all cores unless given
        allow: as for `run`
        dry_run: only list what would be run
    """

    source: str
    work: str
    recipe_grid: str
    folds: bool = False
    workers: int | None = None
    allow: tuple[str, ...] = ()
    dry_run: bool = False


def sweep(request: Sweep) -> int:
    """Run the grid; systems without tokens are run with the first recipe only, of whose slices they know nothing.

    Every recipe is read before the first is run, so that a mistake in the last one costs nothing.
    """
    from audio_tokens.engine.systems.registry import find
    from audio_tokens.jobs.run import Run, run
    from audio_tokens.shards.publish import publish_bytes

    file = recipe_file(request.recipe_grid)
    grid = _checked(file)
    reads = {system: find(system).reads for system in grid["systems"]}
    planned = []
    for index, (name, recipe) in enumerate(recipes(grid)):
        systems = [system for system in reads if index == 0 or "tokens" in reads[system]]
        if request.dry_run:
            print(f"sweep: {name}: {', '.join(systems)}")
            continue
        path = Path(request.work) / "recipes" / f"{name}.yaml"
        publish_bytes(path, yaml.safe_dump(recipe, sort_keys=False).encode())
        words = [
            "--source",
            request.source,
            "--work",
            request.work,
            "--recipe",
            str(path),
            "--systems",
            ",".join(systems),
        ]
        words += ["--seeds", ",".join(map(str, grid["seeds"]))] + ["--folds"] * request.folds
        words += ["--allow", ",".join(request.allow)] if request.allow else []
        words += [] if request.workers is None else ["--workers", str(request.workers)]
        if systems:
            planned.append((f"{name}: {', '.join(systems)}", parse(Run, words, prog="audio-tokens sweep")))
    worst = 0
    for title, recipe_run in planned:
        say(f"sweep: {title}")
        worst = max(worst, run(recipe_run))
    return worst


def recipes(grid: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, recipe) for every combination of one choice per axis, laid over the grid's base."""
    for choices in product(*(axis.items() for axis in grid["axes"].values())):
        recipe = grid.get("base") or {}
        for _, fragment in choices:
            recipe = _laid_over(recipe, fragment or {})
        yield "-".join(map(str, [grid["name"], *(name for name, _ in choices)])), recipe


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = below.keys() & above.keys()
    nested = {key for key in both if isinstance(below[key], dict) and isinstance(above[key], dict)}
    return below | above | {key: _laid_over(below[key], above[key]) for key in nested}


def _checked(file: Path) -> dict[str, Any]:
    """Return the grid in `file`. Raises UserError, naming what is wrong, where it is none."""
    grid = read_yaml(file)
    known = ("name", "axes", "systems", "seeds", "base")
    missing = [key for key in known[:4] if key not in grid]
    if missing:
        raise UserError(f"{file} is no grid of recipes: it lacks {', '.join(missing)}; grid-2024.yaml shows one")
    unknown = [str(key) for key in grid if key not in known]
    choices = [axis if isinstance(axis, dict) else None for axis in _values(grid["axes"])]
    fragments = [fragment for axis in choices for fragment in _values(axis)]
    rules = {
        f"{', '.join(unknown)} is not one of {', '.join(known)}": not unknown,
        "axes must name axes, and each axis its choices": None not in choices and all(choices),
        "a choice and `base` must be parts of a recipe": all(
            isinstance(part, dict | None) for part in (*fragments, grid.get("base"))
        ),
        "systems must be a list of names": _listed(grid["systems"], str),
        "seeds must be a list of whole numbers": _listed(grid["seeds"], int),
    }
    for rule, holds in rules.items():
        if not holds:
            raise UserError(f"{file} is no grid of recipes: {rule}; grid-2024.yaml shows one")
    count = math.prod(len(axis) for axis in grid["axes"].values())
    if count > MOST_RECIPES:
        raise UserError(f"{file} makes {count:,} recipes, and at most {MOST_RECIPES:,} are run; take choices away")
    names = Counter(name for name, _ in recipes(grid))
    for name, times in names.items():
        if not NAME.fullmatch(name) or times > 1:
            raise UserError(
                f"{file}: a recipe would be called {name!r}; names become folders: letters, digits, _ and -, each once"
            )
    return grid


def _values(mapping: Any) -> list[Any]:
    """Return the values of a mapping, and for anything else a value that is none of them."""
    return list(mapping.values()) if isinstance(mapping, dict) else [0]


def _listed(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(type(entry) is kind for entry in value)


def main(argv: Sequence[str] | None = None) -> int:
    return command(Sweep, sweep, argv)


if __name__ == "__main__":
    sys.exit(main())
