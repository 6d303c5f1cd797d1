"""What an artefact was made from: its parents, found by their ids near it, and theirs, up to the listing of the sound.

A manifest names no path, so that a work folder may move as a whole: a parent is looked for where artefacts lie that
were made together, beside the child and beside the folders around it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.integrity import INTEGRITY, read_integrity

LEVELS = 4  # a run of a fold lies three folders deep in its work folder, beside whose top the shards may lie


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """What the artefact in `child` was made from in the `role` of tokens, say; `depth` generations up in all.

    `id` is None for one that had no manifest when it was used. `folder` is where it lies now; where it was not found
    `lost` says so. A listing of sound has neither.
    """

    depth: int
    child: Path
    role: str
    id: str | None
    folder: Path | None = None
    lost: str | None = None


def ancestry(folder: Path, within: Sequence[str] = (), depth: int = 1) -> Iterator[Ancestor]:
    """Yield the ancestors of an artefact, each followed by its own; one that several share is met several times.

    `within` are folders to look in besides. Raises UserError where the artefact's own manifest is missing or damaged.
    """
    for role, parent in sorted(read_integrity(folder).parents.items()):
        if role == "listing":
            yield Ancestor(depth=depth, child=folder, role=role, id=parent)
        elif parent is None:
            yield Ancestor(
                depth=depth, child=folder, role=role, id=None, lost=f"{folder}: its {role} had no {INTEGRITY} when used"
            )
        else:
            found, damaged = _find(parent, folder, within)
            near = f"; damaged near it: {', '.join(map(str, damaged))}" if damaged else ""
            lost = None if found else f"{folder}: its {role} {parent} is not found; name its folder by --within{near}"
            yield Ancestor(depth=depth, child=folder, role=role, id=parent, folder=found, lost=lost)
            if found:
                yield from ancestry(found, within, depth + 1)


def _find(wanted: str, child: Path, within: Sequence[str]) -> tuple[Path | None, list[Path]]:
    """Return the folder of the artefact with the id `wanted`, and the damaged manifests that were met on the way."""
    damaged: list[Path] = []
    for place in (*map(Path, within), *child.absolute().parents[:LEVELS]):
        for candidate in (place, *sorted(path for path in place.iterdir() if path.is_dir())):
            if not (candidate / INTEGRITY).is_file():
                continue
            try:
                if read_integrity(candidate).id == wanted:
                    return candidate, damaged
            except UserError:
                damaged.append(candidate / INTEGRITY)
    return None, list(dict.fromkeys(damaged))
