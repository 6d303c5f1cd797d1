"""How much work a set of clips is to each stage, in the units that rates are given for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAGES = ("build", "cluster", "encode", "train token-linear", "train token-lstm", "train token-bert", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Work:
    """Clips of equal length, through a recipe that puts down `positions_s` tokens a second.

    `budget` is the number of vectors that k-means is fitted to (0 for all), see KMeansConfig.
    """

    clips: int
    clip_s: float
    positions_s: float
    budget: int
    epochs: int

    @property
    def positions(self) -> float:
        """Tokens of one stream, all clips together."""
        return self.clips * self.clip_s * self.positions_s

    def units(self, stage: str) -> dict[str, float]:
        """Return how many units of each kind a stage has to do."""
        if stage == "build":
            return {"second of sound": self.clips * self.clip_s}
        if stage == "cluster":
            fitted = min(self.positions, self.budget) if self.budget else self.positions
            return {"vector fitted to": fitted, "vector counted": self.positions}
        if stage in ("encode", "evaluate"):
            return {"position": self.positions}
        return {"position and epoch": self.positions * self.epochs}


def of_recipe(recipe: Mapping[str, Any], clips: int, clip_s: float, epochs: int) -> Work:
    """Return the work that rates' own recipe makes of clips."""
    return Work(
        clips=clips, clip_s=clip_s, positions_s=recipe["positions_s"], budget=recipe["budget_vectors"], epochs=epochs
    )
