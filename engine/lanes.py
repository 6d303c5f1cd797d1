"""Sums that do not depend on the number of processes: data is read in a fixed number of lanes, added in lane order.

Floating-point addition is not associative; a sum per lane, added in lane order, is the same on 1, 2 or 3 processes.
N vectors, D dimensions.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from audio_tokens.engine.world import World


@runtime_checkable
class Lanes(Protocol):
    """Data as k-means meets it: a fixed number of lanes, each read in blocks."""

    lanes: int

    def blocks(self, lane: int, epoch: int) -> Iterator[Any]:
        """Yield the blocks of one lane in the order of one epoch; all lanes together cover the data once an epoch.

        A pure function of its arguments. A lane beyond the last one is empty.
        """
        ...


def in_lane_order(
    work: Callable[[int], tuple[np.ndarray, ...]], lanes: int, world: World
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield `work(lane)` of every lane in lane order, on every process; each process works on every size-th lane.

    `work` returns arrays whose shapes do not depend on the lane; for a lane beyond the last one its result is dropped.
    """
    for first in range(0, lanes, world.size):
        gathered = [_gathered(np.asarray(array), world) for array in work(first + world.rank)]
        for rank in range(min(world.size, lanes - first)):
            yield tuple(array[rank] for array in gathered)


def _gathered(array: np.ndarray, world: World) -> np.ndarray:
    """Return the arrays of all processes, [size, ...]; an empty one is equal on all of them, and NCCL refuses it."""
    return world.gather(array) if array.size else np.empty((world.size, *array.shape), array.dtype)


def sum_lanes(work: Callable[[int], tuple[np.ndarray, ...]], lanes: int, world: World) -> tuple[np.ndarray, ...]:
    """Return the sums over all lanes of the arrays that `work(lane)` returns, added in lane order."""
    results = in_lane_order(work, lanes, world)
    totals = [np.array(array) for array in next(results)]
    for arrays in results:
        for total, array in zip(totals, arrays, strict=True):
            total += array
    return tuple(totals)
