"""Subsets of clips as pure functions of their ids: a share, a number, named sets, and unions of them.

An id is taken where its hash is small, so subsets of one seed lie within one another, neither the order nor the number
of files matters, and the clips of one video or recording (whose id is what is hashed) are never parted.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from audio_tokens.errors import UserError
from audio_tokens.seeds import HASHES, hashed


@dataclass(frozen=True)
class Subset:
    """A union: of shares in (0, 1), of numbers of ids, and of sets that whoever reads it knows by name."""

    ratios: tuple[float, ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def threshold(self, ids: Iterable[str], seed: int) -> int:
        """Return the hash below which an id is taken; `ids` are gone through only where a number is wanted."""
        thresholds = [round(ratio * HASHES) for ratio in self.ratios]
        if self.sizes:
            wanted = max(self.sizes)
            smallest = heapq.nsmallest(wanted + 1, {hashed(seed, "subset", name) for name in ids})
            thresholds.append(smallest[wanted] if len(smallest) > wanted else HASHES)
        return max(thresholds, default=0)


def parse_subset(text: str) -> Subset:
    """Read `0.1`, `20000`, `200k`, a name, or a union of such with `+`. Raises UserError for an empty part or a 0."""
    ratios, sizes, names = [], [], []
    for part in text.split("+"):
        digits = part.removesuffix("k")
        if digits.isdecimal():
            sizes.append(int(digits) * (1000 if part.endswith("k") else 1))
        elif _ratio(part) is not None:
            ratios.append(float(part))
        else:
            names.append(part)
    if not all(names) or 0 in sizes or not all(0 < ratio < 1 for ratio in ratios):
        raise UserError(f"subset {text!r}: a part is a ratio like 0.1, a number like 20000 or 200k, or a name")
    return Subset(tuple(ratios), tuple(sizes), tuple(names))


def _ratio(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
