"""lineage: which bytes made this figure, from a run up to the listing of the sound."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Print what artefacts were made from, each by the sha256 of its files, and re-read all of it.

    Args:
        artefacts: folders of runs, or of tokens, codebooks or mel shards
        within: folders to look for their parents in, if they do not lie near
    """

    artefacts: tuple[str, ...]
    within: tuple[str, ...] = ()


def lineage(job: Lineage) -> int:
    """Print a line an ancestor and, for every file that is not what it was, a line. Returns 1 for one, else 0."""
    from audio_tokens.jobs.artefacts.lineage import ancestry
    from audio_tokens.jobs.verify import file_faults, kind_of
    from audio_tokens.shards.integrity import read_integrity

    faults: list[str] = []
    for artefact in map(Path, job.artefacts):
        print(f"{kind_of(artefact)} {read_integrity(artefact).id} {artefact}")
        folders = [artefact]
        for ancestor in ancestry(artefact, job.within):
            where = ancestor.folder or ("not found" if ancestor.lost else _source(ancestor.child))
            print(f"{'  ' * ancestor.depth}{ancestor.role} {ancestor.id or 'unknown'} {where}".rstrip())
            folders += [ancestor.folder] if ancestor.folder else []
            faults += [ancestor.lost] if ancestor.lost else []
        faults += [fault for folder in dict.fromkeys(folders) for fault in file_faults(folder)]
    for fault in dict.fromkeys(faults):
        print(f"lineage: {fault}")
    return 1 if faults else 0


def _source(child: Path) -> str:
    """Return the name of the source that mel shards were built from, as far as they tell."""
    from audio_tokens.shards.dataset.manifest import MANIFEST, Dataset

    try:
        return Dataset.open(child).manifest["build"]["source"] if (child / MANIFEST).is_file() else ""
    except (UserError, KeyError):  # damaged, which a line below says
        return ""


def main(argv: Sequence[str] | None = None) -> int:
    return command(Lineage, lineage, argv, positional="artefacts")


if __name__ == "__main__":
    sys.exit(main())
