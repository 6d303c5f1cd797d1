"""From a clip's positions to one vector. Axes: B batch, T positions, D dimensions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audio_tokens.engine.systems.tagger import masked_max, masked_mean


class Pooling(nn.Module):
    """Pool real positions: the first (a [CLS]), their mean, their highest values, both side by side, or attention.

    Attention weighs positions by one learnt query: softmax over real positions of a linear score. `width` is the
    dimension that comes out.
    """

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.kind = kind
        self.width = 2 * width if kind == "mean-max" else width
        self.score = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, x_BTD: Float[Tensor, "B T D"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B E"]:
        if self.score is not None:
            scores_BT = self.score(x_BTD)[..., 0].masked_fill(~mask_BT, float("-inf"))
            return (x_BTD * scores_BT.softmax(dim=1)[..., None]).sum(dim=1)
        if self.kind == "first":
            return x_BTD[:, 0]
        if self.kind == "mean":
            return masked_mean(x_BTD, mask_BT)
        if self.kind == "max":
            return masked_max(x_BTD, mask_BT)
        return torch.cat([masked_mean(x_BTD, mask_BT), masked_max(x_BTD, mask_BT)], dim=1)
