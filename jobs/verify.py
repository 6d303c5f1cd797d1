"""verify: re-read an artefact against its hashes and counts."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.shards.tasks.task_set import TASKS


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Re-read artefacts against their hashes and counts, and name what is torn.

    Args:
        artefacts: folders of mel shards, codebooks, tokens.zarr or runs
    """

    artefacts: tuple[str, ...]


def verify(config: Verify) -> int:
    """Print one line for each thing that is wrong. Returns 1 where there is one, else 0."""
    torn = 0
    for artefact in config.artefacts:
        folder = Path(artefact)
        checked = 0
        for name, complaint in CHECKS[kind_of(folder)](folder):
            checked += 1
            if complaint:
                torn += 1
                print(f"verify: {folder / name}: {complaint}")
        print(f"verify: {folder}: {checked} files read")
    return 1 if torn else 0


def kind_of(folder: Path) -> str:
    """Return what a folder holds. Raises UserError where it is no artefact."""
    if not folder.exists():
        raise UserError(f"there is no {folder}; name a folder of mel shards, a codebook, a tokens.zarr or a run")
    for kind, marks in MARKS.items():
        if all((folder / mark).exists() for mark in marks):
            return kind
    if (folder / TASKS).is_dir():
        return "shards"  # unfinished: opening it says how to go on
    raise UserError(f"{folder} is no finished artefact; it holds no mel shards, codebook, tokens.zarr or run")


def _codebook(folder: Path) -> Iterator[tuple[str, str | None]]:
    from audio_tokens.engine.codebook.codebook_file import Codebook

    yield "codebook.safetensors", _refusal(lambda: Codebook.load(folder))


def _tokens(folder: Path) -> Iterator[tuple[str, str | None]]:
    from audio_tokens.shards.tokens.token_store import TokenStore

    store = TokenStore.open(folder)
    for place in store.places:
        yield place, _refusal(lambda place=place: store.group(place))


def _run(folder: Path) -> Iterator[tuple[str, str | None]]:
    from safetensors.numpy import load_file

    yield "result.json", _refusal(lambda: json.loads((folder / "result.json").read_bytes()))
    yield "model/model.safetensors", _refusal(lambda: load_file(folder / "model" / "model.safetensors"))


def _shards(folder: Path) -> Iterator[tuple[str, str | None]]:
    from audio_tokens.shards.dataset.verify import complaints

    return complaints(folder)


def _refusal(read) -> str | None:
    """Return the words with which a loader refuses a file, or None where it takes it."""
    try:
        read()
    except Exception as error:  # whatever a torn file makes a loader say
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


MARKS = {
    "shards": ("dataset.json",),
    "tokens": ("zarr.json",),
    "codebook": ("config.json", "codebook.safetensors"),
    "run": ("result.json", "model"),
}
CHECKS = {"shards": _shards, "tokens": _tokens, "codebook": _codebook, "run": _run}


def main(argv: Sequence[str] | None = None) -> int:
    return command(Verify, verify, argv, positional="artefacts")


if __name__ == "__main__":
    sys.exit(main())
