"""verify: re-read an artefact against its manifest, and what is in its files against what may be."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.shards.tasks.task_set import TASKS

Found = Iterator[tuple[str, str | None]]  # a file, and what is wrong with it if anything


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Re-read artefacts against their hashes and counts, and name what is torn.

    Args:
        artefacts: folders of mel shards, codebooks, tokens.zarr or runs
        deep: re-read what they were made from too, up to the listing of the sound
        within: with --deep, folders to look for their parents in, if they do not lie near
    """

    artefacts: tuple[str, ...]
    deep: bool = False
    within: tuple[str, ...] = ()


def verify(config: Verify) -> int:
    """Print one line for each thing that is wrong. Returns 1 where there is one, else 0."""
    from audio_tokens.jobs.artefacts.lineage import ancestry

    torn = 0
    for artefact in config.artefacts:
        folder, checked, faults = Path(artefact), set(), []
        for name, complaint in complaints(folder):
            checked.add(name)
            faults += [f"{folder / name}: {complaint}"] if complaint else []
        if config.deep:
            try:
                ancestors = list(ancestry(folder, config.within))
            except UserError:  # a manifest of the chain, which its own line above or below tells of
                ancestors = []
            faults += [ancestor.lost for ancestor in ancestors if ancestor.lost]
            for place in dict.fromkeys(ancestor.folder for ancestor in ancestors if ancestor.folder):
                faults += file_faults(place)
        for fault in faults:
            print(f"verify: {fault}")
        torn += len(faults)
        print(f"verify: {folder}: {len(checked)} files read")
    return 1 if torn else 0


def complaints(folder: Path) -> Found:
    """Yield every file of an artefact with what is wrong with it, or None: its bytes, then what they say."""
    from audio_tokens.shards.integrity import INTEGRITY, file_complaints, read_integrity

    kind = kind_of(folder)
    try:
        integrity = read_integrity(folder)
    except UserError as error:
        yield INTEGRITY, str(error)
    else:
        yield INTEGRITY, None
        yield from file_complaints(folder, integrity)
    yield from CHECKS[kind](folder)


def file_faults(folder: Path) -> list[str]:
    """Return a line for every file of an artefact whose bytes are not what its manifest says."""
    from audio_tokens.shards.integrity import file_complaints, read_integrity

    try:
        found = file_complaints(folder, read_integrity(folder))
        return [f"{folder / name}: {complaint}" for name, complaint in found if complaint]
    except UserError as error:
        return [str(error)]


def kind_of(folder: Path) -> str:
    """Return what a folder holds. Raises UserError where it is no artefact."""
    from audio_tokens.shards.integrity import read_integrity

    if not folder.exists():
        raise UserError(f"there is no {folder}; name a folder of mel shards, a codebook, a tokens.zarr or a run")
    with suppress(UserError):  # where its manifest does not tell, its files do
        if kind := KINDS.get(read_integrity(folder).artefact):
            return kind
    for kind, marks in MARKS.items():
        if all((folder / mark).exists() for mark in marks):
            return kind
    if (folder / TASKS).is_dir():
        return "shards"  # unfinished: opening it says how to go on
    raise UserError(f"{folder} is no finished artefact; it holds no mel shards, codebook, tokens.zarr or run")


def _codebook(folder: Path) -> Found:
    from audio_tokens.engine.codebook.codebook_file import Codebook

    yield "codebook.safetensors", _refusal(lambda: Codebook.load(folder))


def _tokens(folder: Path) -> Found:
    from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore

    try:
        store = TokenStore.open(folder)
    except UserError as error:
        yield "zarr.json", str(error)
        return

    def load(place: str) -> None:
        store.group(place).load()

    for place in store.places:
        for group in (place, place + VIEWS) if store.views else (place,):
            yield f"{group}/zarr.json", _refusal(partial(load, group))


def _run(folder: Path) -> Found:
    from safetensors.numpy import load_file

    from audio_tokens.jobs.artefacts.run_folder import RunFolder

    run = RunFolder(folder)
    yield "config.yaml", _refusal(run.settings)
    yield "result.json", _refusal(run.result)
    if (folder / "predictions.npz").exists():
        yield "predictions.npz", _refusal(run.predictions)
    yield "model/model.safetensors", _refusal(lambda: load_file(folder / "model" / "model.safetensors"))


def _shards(folder: Path) -> Found:
    from audio_tokens.shards.dataset.verify import complaints

    return complaints(folder)


def _refusal(read: Callable[[], object]) -> str | None:
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
KINDS = {
    "audio-tokens-shards": "shards",
    "audio-tokens-store": "tokens",
    "audio-tokens-codebook": "codebook",
    "audio-tokens-run": "run",
}
CHECKS = {"shards": _shards, "tokens": _tokens, "codebook": _codebook, "run": _run}


def main(argv: Sequence[str] | None = None) -> int:
    return command(Verify, verify, argv, positional="artefacts")


if __name__ == "__main__":
    sys.exit(main())
