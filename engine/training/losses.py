"""What a clip's loss is: plain, or one that listens to rare labels.

Axes: B batch, C clips, L labels.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid

from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.errors import UserError

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(config: TrainConfig, positives_L: Int64[Tensor, "L"], single_label: bool) -> Loss:
    """Return `loss(logits_BL, targets_BL) -> losses_B` as `config.loss` and `config.label_smoothing` say.

    `positives_L` counts the training clips of every label. `plain` is cross-entropy where every clip has one label,
    else the mean over labels of the binary one; `balanced` weighs labels by their effective number of clips (Cui et
    al. 2019); `focal` (Lin et al. 2017, gamma 2) and `asymmetric` (Ridnik et al. 2021, gamma 4 on negatives, whose
    probability is cut by 0.05) turn down what is already right. Targets may be any share 0..1 (smoothed or mixed).
    Raises UserError for the asymmetric one where every clip has one label: a softmax has no negatives of its own.
    """
    if single_label and config.loss == "asymmetric":
        raise UserError("loss asymmetric is for clips of several labels, and here each has one; use balanced or focal")
    weights_L = balance(positives_L) if config.loss == "balanced" else torch.ones(len(positives_L))

    def loss(logits_BL: Float[Tensor, "B L"], targets_BL: Float[Tensor, "B L"]) -> Float[Tensor, "B"]:
        smooth = config.label_smoothing
        w_L = weights_L.to(logits_BL.device)
        if single_label:
            targets_BL = targets_BL * (1 - smooth) + smooth / targets_BL.shape[1]
            losses_B = cross_entropy(logits_BL, targets_BL, weight=w_L, reduction="none")
            if config.loss == "focal":
                return losses_B * (1 - torch.exp(-losses_B)) ** 2
            return losses_B
        targets_BL = targets_BL * (1 - smooth) + smooth / 2
        if config.loss == "focal":
            p_BL = logits_BL.sigmoid()
            wrong_BL = targets_BL * (1 - p_BL) + (1 - targets_BL) * p_BL
            losses_BL = wrong_BL**2 * binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none")
        elif config.loss == "asymmetric":
            p_BL = (logits_BL.sigmoid() - 0.05).clamp(min=0)
            negative_BL = p_BL**4 * -torch.log1p(-p_BL.clamp(max=1 - 1e-6))
            losses_BL = targets_BL * -logsigmoid(logits_BL) + (1 - targets_BL) * negative_BL
        else:
            losses_BL = w_L * binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none")
        return losses_BL.mean(dim=1)

    return loss


def balance(positives_L: Int64[Tensor, "L"], beta: float = 0.999) -> Float[Tensor, "L"]:
    """Return a weight per label, the inverse of its effective number of clips (1 - beta^n) / (1 - beta), of mean 1."""
    weights_L = (1 - beta) / (1 - beta ** positives_L.clamp(min=1).double())
    return (weights_L / weights_L.mean()).float()
