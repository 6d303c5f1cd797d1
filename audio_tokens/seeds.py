"""Randomness by purpose: every draw has a generator or a hash of its own, never a global generator."""

import hashlib

import numpy as np

from audio_tokens.errors import UserError

HASHES = 1 << 64


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the generator of (seed, purpose, indices), say (0, "shuffle", epoch, lane): equal arguments, equal draws.

    Two purposes never share a stream, so a draw added to one stage moves no number of another.
    Raises UserError where the seed or an index is negative.
    """
    if seed < 0 or any(index < 0 for index in indices):
        raise UserError(f"seed {seed} (indices {indices}) is negative; seeds count from 0")
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest()[:16], dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, *map(int, words)], spawn_key=indices))


def hashed(seed: int, purpose: str, name: str) -> int:
    """Return a number below HASHES that depends on seed, purpose and name alone: a share of names is drawn by it."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
