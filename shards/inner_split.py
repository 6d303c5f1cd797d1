"""Which training clips are held out where a choice must be made without the test fold. C clips."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from shards.errors import ShardsError
from shards.plan import INNER_SPLIT


def held_out(groups_C: Sequence[str], share: float, seed: int) -> Bool[np.ndarray, "C"]:
    """Return which clips are held out: whole groups (source recordings), drawn until they make up `share` of the clips.

    A pure function of its arguments, whatever the order of equal groups. Raises ShardsError where there is one group.
    """
    names, group_C = np.unique(np.asarray(groups_C, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise ShardsError(f"the training folds hold {len(names)} source recording; a choice needs two, to part them")
    order = np.random.default_rng([seed, INNER_SPLIT]).permutation(len(names))
    clips = np.bincount(group_C)[order]
    taken = np.clip(np.searchsorted(np.cumsum(clips), share * len(group_C)) + 1, 1, len(names) - 1)
    return np.isin(group_C, order[:taken])
