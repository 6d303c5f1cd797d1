"""sweep: recipes x systems x seeds in sequence, resumable, one leaderboard."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from jobs.command import command, parse, recipe_file
from jobs.errors import JobError


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run every recipe of a grid with every system and seed; the same command goes on where it was stopped.

    Args:
        source: as for `run`
        work: the folder that holds all artefacts and the one leaderboard
        recipe_grid: a packaged grid's name (grid-2024) or a YAML file
        folds: test every fold once, fitting on the others
        workers: processes that build and encode; all cores unless given
        dry_run: only list what would be run
    """

    source: str
    work: str
    recipe_grid: str
    folds: bool = False
    workers: int | None = None
    dry_run: bool = False


def sweep(job: Sweep) -> int:
    """Run the grid; systems without tokens are run with the first recipe only, of whose slices they know nothing."""
    from engine.systems import find
    from jobs.run import Run, run
    from shards.publish import publish_bytes

    file = recipe_file(job.recipe_grid)
    grid = _checked(yaml.safe_load(file.read_text()), file)
    worst = 0
    for index, (name, recipe) in enumerate(recipes(grid)):
        systems = [system for system in grid["systems"] if index == 0 or "tokens" in find(system).reads]
        print(f"sweep: {name}: {', '.join(systems)}")
        if job.dry_run:
            continue
        path = Path(job.work) / "recipes" / f"{name}.yaml"
        publish_bytes(path, yaml.safe_dump(recipe, sort_keys=False).encode())
        words = ["--source", job.source, "--work", job.work, "--recipe", str(path), "--systems", ",".join(systems)]
        words += ["--seeds", ",".join(map(str, grid["seeds"]))] + ["--folds"] * job.folds
        words += [] if job.workers is None else ["--workers", str(job.workers)]
        worst = max(worst, run(parse(Run, words, prog="audio-tokens sweep")))
    return worst


def recipes(grid: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, recipe) for every combination of one choice per axis, laid over the grid's base."""
    for choices in product(*(axis.items() for axis in grid["axes"].values())):
        recipe = grid.get("base", {})
        for _, fragment in choices:
            recipe = _laid_over(recipe, fragment or {})
        yield "-".join([grid["name"], *(name for name, _ in choices)]), recipe


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = below.keys() & above.keys()
    nested = {key for key in both if isinstance(below[key], dict) and isinstance(above[key], dict)}
    return below | above | {key: _laid_over(below[key], above[key]) for key in nested}


def _checked(grid: Any, file: Path) -> dict[str, Any]:
    missing = [key for key in ("name", "axes", "systems", "seeds") if not isinstance(grid, dict) or key not in grid]
    if missing:
        raise JobError(f"{file} is no grid of recipes: it lacks {', '.join(missing)}; grid-2024.yaml shows one")
    return grid


def main(argv: Sequence[str] | None = None) -> int:
    return command(Sweep, sweep, argv)


if __name__ == "__main__":
    sys.exit(main())
