"""Which clips of AudioSet are taken, and for which split: pure functions of the video's id."""

import re
from dataclasses import dataclass

from audio_tokens.seeds import HASHES, hashed

EVAL, BALANCED, UNBALANCED = "eval", "bal_train", "unbal_train"
PART_WORDS = {"eval": EVAL, "bal": BALANCED, "balanced": BALANCED, "unbal": UNBALANCED, "unbalanced": UNBALANCED}


def part_of(path: str) -> str | None:
    """Return the published part that a path names last ("audio/bal_train/x.flac", "eval_segments.csv"), if any."""
    words = reversed(re.split(r"[^a-z]+", path))
    return next((PART_WORDS[word] for word in words if word in PART_WORDS), None)


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

    def wants(self, part: str | None) -> bool:
        """Whether a file of this part (None: not known) may hold a clip that is taken."""
        return part in (None, EVAL) or self.everything or self.below > 0 or (self.balanced and part == BALANCED)

    def place(self, part: str, video_id: str) -> str | None:
        """Return the split of a clip, or None where it is not taken."""
        if part == EVAL:
            return "test"
        taken = self.everything or (self.balanced and part == BALANCED)
        if not taken and hashed(self.seed, "subset", video_id) >= self.below:
            return None
        return "val" if hashed(self.seed, "val", video_id) < self.val_share * HASHES else "train"
