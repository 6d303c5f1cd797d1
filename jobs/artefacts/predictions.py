"""What a run said of the clips it was tested on, and what is true. Axes: C clips, L labels, R replicates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from audio_tokens.errors import UserError, damaged


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a system said of the clips it was tested on, and what is true; `groups` are the clips' recordings or
    speakers.
    """

    keys: list[str]
    groups: list[str]
    labels: list[str]
    scores_CL: Float32[np.ndarray, "C L"]
    targets_CL: Bool[np.ndarray, "C L"]

    def save(self, path: Path) -> None:
        """Write the arrays as an .npz file."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                keys=np.array(self.keys),
                groups=np.array(self.groups),
                labels=np.array(self.labels),
                scores=self.scores_CL,
                targets=self.targets_CL,
            )

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Return what `save` wrote. Raises UserError where the file is damaged."""
        try:
            with np.load(path, allow_pickle=False) as found:
                return cls._of(*(found[name] for name in ("keys", "groups", "labels", "scores", "targets")))
        except Exception as error:  # whatever a damaged archive makes numpy and zlib say
            raise damaged(path, error) from None

    @classmethod
    def _of(
        cls, keys: np.ndarray, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray, targets: np.ndarray
    ) -> "Predictions":
        """Return the predictions that a file holds. Raises ValueError where its arrays do not fit each other."""
        shape = (len(keys), len(labels)) if keys.ndim == labels.ndim == 1 else ()
        fits = scores.shape == targets.shape == shape and (scores.dtype, targets.dtype) == (np.float32, np.bool_)
        if not fits or groups.shape != keys.shape or {each.dtype.kind for each in (keys, groups, labels)} != {"U"}:
            raise ValueError("its arrays do not fit each other")
        if not np.isfinite(scores).all():
            raise ValueError("scores hold what is not finite")
        return cls(
            keys=keys.tolist(), groups=groups.tolist(), labels=labels.tolist(), scores_CL=scores, targets_CL=targets
        )

    def replicates(self, count: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Return bootstrap replicates of mAP and, with one label a clip, accuracy: recordings or speakers drawn again.

        Clips are drawn where all are of one group.
        """
        from audio_tokens.engine.scores.bootstrap import replicates

        groups = self.groups if len(set(self.groups)) > 1 else None
        return replicates(self.scores_CL, self.targets_CL, groups=groups, count=count, seed=seed)

    @classmethod
    def joined(cls, parts: "Sequence[Predictions]") -> "Predictions":
        """Return the predictions of several folds as one. Raises UserError where their labels or clips do not fit."""
        keys = [key for part in parts for key in part.keys]
        if any(part.labels != parts[0].labels for part in parts):
            raise UserError("the runs tag other labels; compare runs on the same data")
        if len(set(keys)) < len(keys):
            raise UserError("the runs were tested on the same clips; join runs of different folds")
        return cls(
            keys=keys,
            groups=[group for part in parts for group in part.groups],
            labels=parts[0].labels,
            scores_CL=np.concatenate([part.scores_CL for part in parts]),
            targets_CL=np.concatenate([part.targets_CL for part in parts]),
        )

    def in_order_of(self, other: "Predictions") -> "Predictions":
        """Return the same clips in the order of `other`. Raises UserError where they are not the same."""
        if sorted(self.keys) != sorted(other.keys) or self.labels != other.labels:
            raise UserError("the two runs were tested on other clips or labels; compare runs on the same data")
        row_of = {key: row for row, key in enumerate(self.keys)}
        rows = np.array([row_of[key] for key in other.keys])
        return replace(
            self,
            keys=other.keys,
            groups=[self.groups[row] for row in rows],
            scores_CL=self.scores_CL[rows],
            targets_CL=self.targets_CL[rows],
        )
