"""Which clips of AudioSet are taken, and for which split: pure functions of the video's id."""

import hashlib
import re
from dataclasses import dataclass

from shards.errors import ShardsError

EVAL, BALANCED, UNBALANCED = "eval", "bal_train", "unbal_train"
PART_WORDS = {"eval": EVAL, "bal": BALANCED, "balanced": BALANCED, "unbal": UNBALANCED, "unbalanced": UNBALANCED}
WHOLE = 1 << 64  # hashes are below it


def part_of(path: str) -> str | None:
    """Return the published part that a path names last ("audio/bal_train/x.flac", "eval_segments.csv"), if any."""
    words = reversed(re.split(r"[^a-z]+", path))
    return next((PART_WORDS[word] for word in words if word in PART_WORDS), None)


def hashed(purpose: str, seed: int, video_id: str) -> int:
    """Return 64 bits that depend on the id alone: no two clips of a video can be told apart by them."""
    digest = hashlib.sha256(f"{purpose}:{seed}:{video_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which training clips are taken, and which of them validate.

    The official evaluation part is the test, whole, always.

    Args:
        everything: take all
        balanced: take the balanced part
        below: take the ids whose hash is below this (a ratio, or the threshold that gives a number of clips)
        val_share: share of the training ids that validate
        seed: decides both hashes
    """

    everything: bool = True
    balanced: bool = False
    below: int = 0
    val_share: float = 0.05
    seed: int = 0

    def place(self, part: str, video_id: str) -> str | None:
        """Return the split of a clip, or None where it is not taken."""
        if part == EVAL:
            return "test"
        taken = self.everything or (self.balanced and part == BALANCED)
        if not taken and hashed("subset", self.seed, video_id) >= self.below:
            return None
        return "val" if hashed("val", self.seed, video_id) < self.val_share * WHOLE else "train"


def parse_subset(text: str) -> tuple[bool, bool, list[float], list[int]]:
    """Read `all`, `balanced`, a ratio (0.1), a number of clips (20000, 200k), or a union of them with `+`.

    Returns (everything, balanced, ratios, sizes). Raises ShardsError for anything else.
    """
    everything = balanced = False
    ratios, sizes = [], []
    for part in text.split("+"):
        number = part.removesuffix("k")
        if part == "all":
            everything = True
        elif part == "balanced":
            balanced = True
        elif number.isdecimal() and int(number):
            sizes.append(int(number) * (1000 if part.endswith("k") else 1))
        elif _ratio(part) is not None:
            ratios.append(float(part))
        else:
            raise ShardsError(
                f"subset {part!r} is none of all, balanced, a ratio like 0.1, a number like 20000 or 200k"
            )
    return everything, balanced, ratios, sizes


def _ratio(text: str) -> float | None:
    try:
        return float(text) if 0 < float(text) < 1 else None
    except ValueError:
        return None
