"""What an artefact was made from, and whether one that lies there already is the one that is wanted."""

import hashlib
import json
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError


def digest(*facts: Any) -> str:
    """Return the sha256 of plain values: equal settings and parents, equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_done(out: Path, kind: str, fingerprint: str, *, force: bool) -> bool:
    """Whether `out` already holds the artefact with this fingerprint; with `force`, it is made anew in any case.

    Raises UserError where something else lies there, since nothing is replaced unasked.
    """
    if force or not out.exists():
        return False
    found = _fingerprint(out, kind)
    if found == fingerprint:
        return True
    other = f"a {kind} made with other settings or from other data" if found else f"something that is no {kind}"
    raise UserError(f"{out} holds {other}; --force replaces it, or choose another --out")


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
