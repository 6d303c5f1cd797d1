"""The features of all clips, made some at a time, in a file where they are too many for memory.

Axes: B batch, T positions, C clips, D features.
"""

import math
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from audio_tokens.engine.clips.table import Clips
from audio_tokens.errors import UserError

TIMED_GROUPS = 4  # the seconds that the estimate rests on


@dataclass(frozen=True)
class ClipFeatures:
    """What `of` returns of some clips, by their numbers: `width` numbers a clip, of `group_clips` clips at a time."""

    lengths_C: Int64[np.ndarray, "C"]
    of: Callable[[Int64[np.ndarray, "B"]], Float32[Tensor, "B D"]]
    width: int
    group_clips: int

    @classmethod
    def of_batches(
        cls,
        clips: Clips,
        of: Callable[[Int64[Tensor, "B T Q"], Int64[Tensor, "B"]], Float32[Tensor, "B D"]],
        width: int,
        group_clips: int,
    ) -> "ClipFeatures":
        """Return what `of` makes of the input and the lengths of a batch of clips."""

        def features(clips_B: Int64[np.ndarray, "B"]) -> Float32[Tensor, "B D"]:
            batch = clips.batch(clips_B)
            return of(batch.input, batch.lengths_B)

        return cls(clips.lengths_C, features, width, group_clips)

    def __len__(self) -> int:
        return len(self.lengths_C)

    def file(self, what: str, fewer: str, say: Callable[[str], None]) -> Float32[Tensor, "C D"]:
        """Return the mapping of a file without a name in TMPDIR, with room for all; `say` is told what they take.

        Raises UserError where there is no room: `what` needs it, and `fewer` is a remedy.
        """
        shape, folder = (len(self), self.width), tempfile.gettempdir()
        size, free = 4 * math.prod(shape), shutil.disk_usage(folder).free
        start, some = time.perf_counter(), np.arange(min(len(self), TIMED_GROUPS * self.group_clips))
        for clips_B in self.groups(some):
            self[clips_B].cpu()
        minutes = (time.perf_counter() - start) / len(some) * len(self) / 60
        takes = f"about {minutes:.1f} min and {size / 1e9:.1f} GB in {folder}"
        say(f"{what}: features of {len(self):,} clips, {takes}")
        if free < size:
            raise UserError(
                f"the {what}' features need {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB; "
                f"set TMPDIR to a folder with room, or {fewer}"
            )
        with tempfile.TemporaryFile() as file:
            return torch.from_numpy(np.memmap(file, np.float32, mode="w+", shape=shape))

    def held(self) -> "ClipFeatures":
        """Return the same features, made once and kept in memory where they were made."""
        x_CD = self[np.arange(1)].new_empty(len(self), self.width)
        self.fill(x_CD)
        return replace(self, of=lambda clips_B: x_CD[torch.from_numpy(clips_B).to(x_CD.device)])

    def fill(self, x_CD: Float32[Tensor, "C D"]) -> None:
        """Write every clip's features into its row."""
        for clips_B in self.groups(np.argsort(self.lengths_C, kind="stable")):  # little padding
            x_CD[torch.from_numpy(clips_B)] = self[clips_B].to(x_CD.device)

    def groups(self, clips_C: Int64[np.ndarray, "C"]) -> list[Int64[np.ndarray, "..."]]:
        """Return the clips in groups of which features are made at a time."""
        return np.split(clips_C, range(self.group_clips, len(clips_C), self.group_clips))

    def __getitem__(self, clips_B: Int64[np.ndarray, "B"]) -> Float32[Tensor, "B D"]:
        return self.of(clips_B)
