"""Convolutions between embedded tokens and what reads them in order. Axes: B batch, T positions, D dimensions."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.tagger import mask_from

TAPS = 5


class ConvFront(nn.Module):
    """`layers` convolutions over TAPS positions, the first by steps of two, each further one added to what it reads.

    A token is a moment and its nearest centroid jumps; what a word is made of lasts several positions. Half as many
    positions are left, which halves the time of an LSTM and quarters that of attention. Positions beyond a clip's end
    are zeros to every layer, as its edges are.
    """

    def __init__(self, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.conv = nn.ModuleList(
            nn.Conv1d(width, width, TAPS, stride=1 if layer else 2, padding=TAPS // 2) for layer in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Float[Tensor, "B T D"], lengths_B: Int64[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B U D"], Int64[Tensor, "B"]]:
        """Return the convolved positions, U = T / 2 rounded up, and how many of each clip's are real."""
        for layer, (norm, convolution) in enumerate(zip(self.norm, self.conv, strict=True)):
            real_BT1 = mask_from(lengths_B, x_BTD.shape[1], x_BTD.device)[..., None]
            heard_BUD = nn.functional.gelu(convolution((norm(x_BTD) * real_BT1).transpose(1, 2))).transpose(1, 2)
            x_BTD = x_BTD + self.dropout(heard_BUD) if layer else heard_BUD
            lengths_B = lengths_B if layer else (lengths_B + 1) // 2
        return x_BTD, lengths_B
