"""How gradients flow: per layer their length, the update's share of the weights, and what vanishes or explodes."""

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

FAR = 1e4  # a layer's gradient this many times shorter or longer than the median layer's is flagged


class GradientReport:
    """Looks at a model between its backward pass and its step, and again after the step."""

    def __init__(self, model: nn.Module) -> None:
        self.layers: dict[str, list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                self.layers.setdefault(layer_of(name), []).append(parameter)
        self.before = {layer: [p.detach().clone() for p in ps] for layer, ps in self.layers.items()}
        self.gradients = {
            layer: [p.grad.detach().clone() for p in ps if p.grad is not None] for layer, ps in self.layers.items()
        }

    def lost(self) -> list[str]:
        """Return the layers whose gradient holds a number that is not finite."""
        return [layer for layer, gradients in self.gradients.items() if not math.isfinite(_length(gradients))]

    def rows(self, epoch: int) -> list[dict[str, Any]]:
        """Return a row per layer: norms, update_ratio (length of the step over that of the weights), a flag."""
        norms = {layer: _length(gradients) for layer, gradients in self.gradients.items()}
        finite = sorted(norm for norm in norms.values() if math.isfinite(norm))
        median = finite[len(finite) // 2] if finite else 0.0
        rows = []
        for layer, parameters in self.layers.items():
            weight = _length(self.before[layer])
            moved = _length([p.detach() - b for p, b in zip(parameters, self.before[layer], strict=True)])
            entries = sum(g.numel() for g in self.gradients[layer])
            lost = sum(int((~torch.isfinite(g)).sum()) for g in self.gradients[layer]) / entries
            rows.append(
                {
                    "epoch": epoch,
                    "layer": layer,
                    "gradient_norm": norms[layer],
                    "weight_norm": weight,
                    "update_ratio": moved / max(weight, 1e-12),
                    "nonfinite_share": lost,
                    "flag": _flag(norms[layer], median, lost),
                }
            )
        return rows


def layer_of(name: str) -> str:
    """Return the layer a parameter belongs to: its name up to the first number, else without the last word."""
    numbered = re.match(r".*?\.\d+(?=\.)", name)
    return numbered[0] if numbered else name.rpartition(".")[0] or name


def _flag(norm: float, median: float, nonfinite_share: float) -> str:
    if nonfinite_share > 0 or norm > FAR * median:
        return "exploding"
    return "vanishing" if norm < median / FAR else ""


def _length(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))
