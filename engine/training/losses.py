"""What a clip's loss is: plain, or with rare labels weighed more.

Axes: B batch, C clips, L labels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from audio_tokens.engine.train_config import TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(config: TrainConfig, positives_L: Int64[Tensor, "L"], single_label: bool) -> Loss:
    """Return `loss(logits_BL, targets_BL) -> losses_B` as `config.loss` and `config.label_smoothing` say.

    `positives_L` counts the training clips of every label. `plain` is cross-entropy where every clip has one label,
    else the mean over labels of the binary one; `balanced` weighs labels by their effective number of clips (Cui et
    al. 2019). Targets may be any share 0..1 (smoothed or mixed).
    """
    weights_L = balance(positives_L) if config.loss == "balanced" else torch.ones(len(positives_L))
    smooth = config.label_smoothing

    def loss(logits_BL: Float[Tensor, "B L"], targets_BL: Float[Tensor, "B L"]) -> Float[Tensor, "B"]:
        w_L = weights_L.to(logits_BL.device)
        if single_label:
            targets_BL = targets_BL * (1 - smooth) + smooth / targets_BL.shape[1]
            return cross_entropy(logits_BL, targets_BL, weight=w_L, reduction="none")
        targets_BL = targets_BL * (1 - smooth) + smooth / 2
        return (w_L * binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none")).mean(dim=1)

    return loss


def balance(positives_L: Int64[Tensor, "L"], beta: float = 0.999) -> Float[Tensor, "L"]:
    """Return a weight per label, the inverse of its effective number of clips (1 - beta^n) / (1 - beta), of mean 1."""
    weights_L = (1 - beta) / (1 - beta ** positives_L.clamp(min=1).double())
    return (weights_L / weights_L.mean()).float()
