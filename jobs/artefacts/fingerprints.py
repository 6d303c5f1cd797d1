"""What an artefact was made from, and whether one that lies there already is the one that is wanted."""

import hashlib
import json
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError, json_of

FOUND_IN = {
    "codebook": ("config.json", "origin", "fingerprint"),
    "token store": ("zarr.json", "attributes", "fingerprint"),
    "quality report": ("quality.json", "fingerprint"),
}


def digest(*facts: Any) -> str:
    """Return the sha256 of plain values: equal settings and parents, equal digests."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_done(out: Path, kind: str, fingerprint: str, *, force: bool) -> bool:
    """Whether `out`, which may be written, already holds the artefact with this fingerprint; never with `force`.

    Raises UserError where another one lies there, since nothing is replaced unasked.
    """
    if force or not out.exists() or not any(out.iterdir()):
        return False
    found = _fingerprint(out, kind)
    if found == fingerprint:
        return True
    other = "made with other settings or from other data" if found else "that is damaged"
    raise UserError(f"{out} holds a {kind} {other}; --force replaces it, or choose another --out")


def _fingerprint(out: Path, kind: str) -> str | None:
    path, *keys = FOUND_IN[kind]
    try:
        value = json_of((out / path).read_bytes())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value
