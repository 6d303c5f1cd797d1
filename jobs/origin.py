"""What an artefact was made from, and whether one that lies there already is the one that is wanted."""

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jobs.errors import JobError


def digest(*facts: Any) -> str:
    """Return the sha256 of plain values: equal settings and parents, equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@runtime_checkable
class Placed(Protocol):
    """Data whose clips lie in splits or folds."""

    @property
    def folds(self) -> bool: ...
    @property
    def places(self) -> tuple[str, ...]: ...


def fitted_places(dataset: Placed, test_fold: int | None) -> tuple[str, ...]:
    """Return the splits or folds something may be fitted on: all folds but the tested one, or the train split.

    Raises JobError where the data has no such fold, no folds at all, or no train split.
    """
    if dataset.folds:
        tested = f"fold-{test_fold}"
        if test_fold is not None and tested not in dataset.places:
            raise JobError(f"--test-fold {test_fold}: the data has {', '.join(dataset.places)}")
        return tuple(place for place in dataset.places if place != tested)
    if test_fold is not None:
        raise JobError(f"--test-fold {test_fold}: the data has splits ({', '.join(dataset.places)}), not folds")
    if "train" not in dataset.places:
        raise JobError(f"the data has no train split to fit on, only {', '.join(dataset.places)}")
    return ("train",)


def is_done(out: Path, kind: str, fingerprint: str, *, force: bool) -> bool:
    """Whether `out` already holds the artefact with this fingerprint; with `force`, it is made anew in any case.

    Raises JobError where something else lies there, since nothing is replaced unasked.
    """
    if force or not out.exists():
        return False
    found = _fingerprint(out, kind)
    if found == fingerprint:
        return True
    other = f"a {kind} made with other settings or from other data" if found else f"something that is no {kind}"
    raise JobError(f"{out} holds {other}; --force replaces it, or choose another --out")


def _fingerprint(out: Path, kind: str) -> str | None:
    if kind == "codebook":
        path, keys = out / "config.json", ("origin", "fingerprint")
    else:
        path, keys = out / "zarr.json", ("attributes", "fingerprint")
    try:
        value = json.loads(path.read_bytes())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value
