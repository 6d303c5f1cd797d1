"""A fixed number of vectors drawn from a stream of any length, with chances in proportion to weights.

N vectors, D dimensions, R room. Each vector gets the key e/w with e exponential, and the R smallest keys are kept:
Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006.
"""

import numpy as np
from jaxtyping import Float32, Shaped


class Reservoir:
    """Keeps up to `room` vectors of those added."""

    def __init__(self, room: int, dims: int, rng: np.random.Generator) -> None:
        self._room, self._rng = room, rng
        self.keys_R = np.empty(0)
        self.x_RD = np.empty((0, dims), np.float32)

    def add(self, x_ND: Float32[np.ndarray, "N D"], weight_N: Shaped[np.ndarray, "N"] | None = None) -> None:
        """Offer vectors; one of weight 0 is never taken."""
        keys_N = self._rng.standard_exponential(len(x_ND))
        if weight_N is not None:
            keys_N = np.divide(keys_N, weight_N, out=np.full(len(keys_N), np.inf), where=weight_N > 0)
        limit = self.keys_R.max() if len(self.keys_R) == self._room else np.inf
        taken = np.flatnonzero(keys_N < limit)
        if len(taken):
            keys = np.concatenate([self.keys_R, keys_N[taken]])
            kept = np.argsort(keys, kind="stable")[: self._room]
            self.keys_R = keys[kept]
            self.x_RD = np.concatenate([self.x_RD, x_ND[taken]])[kept]

    def padded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return keys [room] (infinite where nothing is kept) and vectors [room, D]: shapes that can be gathered."""
        keys = np.full(self._room, np.inf)
        x_RD = np.zeros((self._room, self.x_RD.shape[1]), np.float32)
        keys[: len(self.keys_R)], x_RD[: len(self.x_RD)] = self.keys_R, self.x_RD
        return keys, x_RD
