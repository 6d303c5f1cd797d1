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
    within_DD: Float64[np.ndarray, "D D"] | None = None,
) -> Whitening:
    """Return the whitening that keeps `dims` dimensions, or else the fewest that hold `variance` of all variance.

    An axis of eigenvalue e is scaled by 1/sqrt(e + floor * largest), which keeps the small ones from being blown up.
    Where `within_DD` is given, the covariance within clips and their views (see view_covariance.py), it is what becomes
    white, and of what the vectors are after that the principal axes are kept. What does not vary is mapped to zeros.
    """
    powers_D, axes_DD = _principal(covariance_DD if within_DD is None else within_DD)
    floored_D = powers_D + floor * powers_D[0]
    matrix_DE = axes_DD * np.divide(1, np.sqrt(floored_D), out=np.zeros_like(floored_D), where=floored_D > 0)
    if within_DD is not None:
        powers_D, axes_DD = _principal(matrix_DE.T @ covariance_DD @ matrix_DE)
        matrix_DE = matrix_DE @ axes_DD
    shares_D = np.cumsum(powers_D) / max(powers_D.sum(), np.finfo(np.float64).tiny)
    keep = dims or int(np.searchsorted(shares_D, variance or 1.0)) + 1
    return Whitening(mean_D.astype(np.float32), matrix_DE[:, :keep].astype(np.float32))


def _principal(
    covariance_DD: Float64[np.ndarray, "D D"],
) -> tuple[Float64[np.ndarray, "D"], Float64[np.ndarray, "D D"]]:
    """Return the variances along the principal axes, largest first, and the axes as columns."""
    powers_D, axes_DD = np.linalg.eigh(covariance_DD)
    powers_D, axes_DD = np.maximum(powers_D[::-1], 0), axes_DD[:, ::-1]
    # LAPACK leaves the sign of an axis open; its largest entry is made positive
    return powers_D, axes_DD * np.sign(axes_DD[np.abs(axes_DD).argmax(axis=0), np.arange(len(powers_D))])
