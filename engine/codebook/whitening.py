"""PCA whitening, fitted on a stream.

N vectors, D dimensions, E dimensions kept.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64


@dataclass(frozen=True)
class Whitening:
    """x -> (x - mean) @ matrix: centred, turned to the principal axes, each scaled to about unit variance."""

    mean_D: Float32[np.ndarray, "D"]
    matrix_DE: Float32[np.ndarray, "D E"]

    def __call__(self, x_ND: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N E"]:
        y_NE = x_ND @ self.matrix_DE
        y_NE -= self.mean_D @ self.matrix_DE  # E numbers instead of a centred copy of all vectors
        return y_NE


def moments(x_ND: Float32[np.ndarray, "N D"]) -> tuple[int, Float64[np.ndarray, "D"], Float64[np.ndarray, "D D"]]:
    """Return the count, the sum and the sum of outer products of a block; those of blocks add up to those of all."""
    x = x_ND.astype(np.float64)
    return len(x), x.sum(axis=0), x.T @ x


def mean_and_covariance(
    count: int, sum_D: Float64[np.ndarray, "D"], outer_DD: Float64[np.ndarray, "D D"]
) -> tuple[Float64[np.ndarray, "D"], Float64[np.ndarray, "D D"]]:
    """Return what added moments tell of the vectors."""
    mean_D = sum_D / count
    return mean_D, outer_DD / count - np.outer(mean_D, mean_D)


def fit_whitening(
    mean_D: Float64[np.ndarray, "D"],
    covariance_DD: Float64[np.ndarray, "D D"],
    *,
    variance: float | None,
    dims: int | None,
    floor: float,
) -> Whitening:
    """Return the whitening that keeps `dims` dimensions, or else the fewest that hold `variance` of all variance.

    The covariance need not be that of the vectors themselves: see view_covariance.py.

    An axis of eigenvalue e is scaled by 1/sqrt(e + floor * largest), which keeps the small ones from being blown up.
    Data that do not vary at all are mapped to zeros.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance_DD)
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
    shares = np.cumsum(eigenvalues) / max(eigenvalues.sum(), np.finfo(np.float64).tiny)
    keep = min(dims, len(shares)) if dims else min(int(np.searchsorted(shares, variance or 1.0)) + 1, len(shares))
    # LAPACK leaves the sign of an axis open; its largest entry is made positive
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(shares))])
    power = eigenvalues + floor * eigenvalues[0]
    scales = np.divide(1, np.sqrt(power), out=np.zeros_like(power), where=power > 0)
    return Whitening(mean_D.astype(np.float32), (vectors * signs * scales)[:, :keep].astype(np.float32))
