"""Randomness by name: every draw comes from a generator of its own, never from a global one."""

import hashlib

import numpy as np

from audio_tokens.engine.errors import EngineError


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Return the generator of (seed, purpose, indices), say (0, "shuffle", epoch, lane): equal arguments, equal draws.

    Two purposes never share a stream, so a draw added to one stage moves no number of another.
    Raises EngineError where the seed or an index is negative.
    """
    if seed < 0 or any(index < 0 for index in indices):
        raise EngineError(f"seed {seed} (indices {indices}) is negative; seeds count from 0")
    words = np.frombuffer(hashlib.sha256(purpose.encode()).digest()[:16], dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence([seed, *map(int, words)], spawn_key=indices))
