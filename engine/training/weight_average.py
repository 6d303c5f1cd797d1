"""Weights averaged over steps, which score better than the last ones: an exponential or an equal average."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

DECAY = 0.999  # of the exponential average, reached after some 10,000 steps; shorter memory before
EQUAL_FROM = 0.75  # share of all steps after which the equal average (SWA, Izmailov et al. 2018) begins


class Average:
    """The average of a model's trainable weights; `kind` is ema or swa."""

    def __init__(self, model: nn.Module, kind: str, steps: int) -> None:
        self.kind, self.steps = kind, steps
        self.weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.means = {name: p.detach().clone() for name, p in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 1)."""
        if self.kind == "ema":
            share = 1 - min(DECAY, (1 + step) / (10 + step))
        else:
            share = 1 / max(1.0, step - EQUAL_FROM * self.steps)
        torch._foreach_lerp_(list(self.means.values()), [p.detach() for p in self.weights.values()], share)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the model have the averaged weights while the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.weights.items():
            parameter.data, self.means[name] = self.means[name], parameter.data

    def state_dict(self) -> dict[str, Tensor]:
        """Return the means by name."""
        return self.means

    def load_state_dict(self, means: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in means.items():
            self.means[name].copy_(value)
