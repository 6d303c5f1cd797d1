"""Runs of unequal length in one flat array: run b is values[starts_B[b] : starts_B[b] + lengths_B[b]].

Axes: B runs, T entries of a run, N entries of all runs.
"""

import numpy as np
from jaxtyping import Bool, Int64, Shaped


def entries_of(starts_B: Int64[np.ndarray, "B"], lengths_B: Int64[np.ndarray, "B"]) -> Int64[np.ndarray, "N"]:
    """Return the numbers of all entries of the runs, one run after the other."""
    before_B = np.cumsum(lengths_B) - lengths_B  # where a run begins once they lie side by side
    return np.repeat(starts_B - before_B, lengths_B) + np.arange(lengths_B.sum())


def ragged(
    values: Shaped[np.ndarray, "N ..."], starts_B: Int64[np.ndarray, "B"], lengths_B: Int64[np.ndarray, "B"]
) -> tuple[Shaped[np.ndarray, "B T ..."], Bool[np.ndarray, "B T"]]:
    """Return the runs padded to the longest, and which entries are real; the others hold arbitrary values."""
    steps_T = np.arange(int(lengths_B.max(initial=0)))
    real_BT = steps_T < lengths_B[:, None]
    rows_BT = starts_B[:, None] + steps_T
    if not real_BT.all():
        rows_BT[~real_BT] = 0
    return values[rows_BT], real_BT
