"""A digest of what a checkpoint restores, so that one flipped bit is no other state but a line that says so."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

Entry = tuple[str, str, tuple[int, ...], Any]  # name, dtype, shape, the contiguous values as a buffer


def state_digest(arrays: Iterable[Entry], facts: Any) -> str:
    """Return the sha256 (64 hex digits) of named arrays, in this order, and of `facts`, anything that JSON holds."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, dtype, shape, values in arrays:
        digest.update(json.dumps([name, dtype, list(shape)]).encode())
        digest.update(values)
    return digest.hexdigest()
