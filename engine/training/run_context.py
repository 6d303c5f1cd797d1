"""What all trainings of one run share: the configuration, the processes, who sees which clip, where checkpoints go."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.checkpoints import Checkpoints, Publish


class Interrupted(Exception):
    """A stop was asked for; the last state is saved and the same command resumes."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Who sees which clip when.

    `epoch(clips, seed, epoch) -> order_C` and `part(order_C, batch, batch_clips, rank, world) -> clips` of a process.
    """

    epoch: Callable[[int, int, int], np.ndarray]
    part: Callable[[np.ndarray, int, int, int, int], np.ndarray]


@dataclass(kw_only=True)
class Progress:
    """The counters of a training, saved with every checkpoint.

    `step` counts optimizer steps; `loss_sum`, `weight`, `clips` and `seconds` belong to the epoch under way; `rows`
    describe the finished ones and `gradients` their last step, layer by layer; `best_epoch` (from 1) had the highest
    validation mAP, `best`.
    """

    step: int = 0
    loss_sum: float = 0.0
    weight: float = 0.0
    clips: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    gradients: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run in hand.

    `order` says who sees which of the clips when; checkpoints lie in a folder a phase (choose, refit, pretrain) below
    `folder`, made atomic by `publish`. `stopping` is asked at every step; `on_epoch(phase, progress, last_epoch)` is
    called on the main process at the end of every epoch, `on_end(phase, progress)` at that of a training, also of one
    that had ended before it was resumed; `say` tells the user a line, on the main process alone.
    `watched(steps, title, done, total)` yields the steps left in an epoch and may show how far it is.
    """

    config: TrainConfig
    seed: int
    order: Callable[[Clips], Order]
    accelerator: Accelerator
    folder: Path
    publish: Publish
    stopping: Callable[[], bool] = lambda: False
    on_epoch: Callable[[str, Progress, int], None] = lambda phase, progress, last_epoch: None
    on_end: Callable[[str, Progress], None] = lambda phase, progress: None
    say: Callable[[str], None] = lambda line: None
    watched: Callable[[Iterable[Any], str, int, int], Iterable[Any]] = lambda steps, title, done, total: steps

    def checkpoints(self, phase: str) -> Checkpoints:
        """Return the checkpoints of one training of the run."""
        return Checkpoints(folder=self.folder / phase, publish=self.publish)
