"""Subsets of clips as pure functions of their ids: a share, a number, named sets, and unions of them.

An id is taken where its hash is small, so subsets of one seed lie within one another, neither the order nor the number
of files matters, and the clips of one video or recording (whose id is what is hashed) are never parted.
"""

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from audio_tokens.shards.errors import ShardsError

WHOLE = 1 << 64  # hashes are below it


def hashed(purpose: str, seed: int, name: str) -> int:
    """Return 64 bits that depend on purpose, seed and name alone."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Subset:
    """A union: of shares in (0, 1), of numbers of ids, and of sets that whoever reads it knows by name."""

    ratios: tuple[float, ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def threshold(self, ids: Iterable[str], seed: int) -> int:
        """Return the hash below which an id is taken; `ids` are gone through only where a number is wanted."""
        thresholds = [round(ratio * WHOLE) for ratio in self.ratios]
        if self.sizes:
            wanted = max(self.sizes)
            smallest = heapq.nsmallest(wanted + 1, {hashed("subset", seed, name) for name in ids})
            thresholds.append(smallest[wanted] if len(smallest) > wanted else WHOLE)
        return max(thresholds, default=0)


def parse_subset(text: str) -> Subset:
    """Read `0.1`, `20000`, `200k`, a name, or a union of such with `+`. Raises ShardsError for an empty part or a 0."""
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
        raise ShardsError(f"subset {text!r}: a part is a ratio like 0.1, a number like 20000 or 200k, or a name")
    return Subset(tuple(ratios), tuple(sizes), tuple(names))


def _ratio(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
