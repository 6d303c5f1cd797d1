"""What a training minimises: a preparation of each batch, what it weighs, and a loss summed over it.

Axes: B batch, T positions, L labels.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.augment import augmented
from audio_tokens.engine.training.losses import Loss


@runtime_checkable
class Objective(Protocol):
    """The loss of a step is the sum of `loss_sum` over all processes divided by the sum of what `prepare` weighs."""

    def prepare(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, float]:
        """Return the batch as the model shall see it, and its weight: a number of clips, or of positions."""

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss summed over a prepared batch, or a part of one."""


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """The labels of augmented clips; a batch weighs its number of clips."""

    config: TrainConfig
    loss: Loss
    mask_ids: tuple[int, ...]

    def prepare(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, float]:
        """Augment the batch as the configuration says."""
        return augmented(batch, self.config, self.mask_ids, rng), float(len(batch.lengths_B))

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum of the clips' losses."""
        return self.loss(model(batch.input, batch.lengths_B, **batch.beside).float(), batch.targets).sum()
