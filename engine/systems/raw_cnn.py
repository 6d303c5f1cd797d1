"""raw-cnn: a four-layer 2-D convolutional net on the mel of a clip.

Axes: B batch, c channels, T frames, F mel bands, D dimensions.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from engine.systems.tagger import Tagger, TaggerConfig, mask_from, masked_max, masked_mean


class RawCnn(Tagger):
    """Four times 3x3 convolution, norm over channels, ReLU, 2x2 mean pooling; then mean and maximum over time.

    Options: channels (of the first layer; doubled by each that follows), dropout (share). The norm sees one point of
    the plane at a time: statistics over a batch would make a clip's logits depend on its padding and on its
    neighbours, and two processes differ from one.
    """

    bf16_on_cpu = True

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        widths = [1] + [config.options["channels"] * 2**layer for layer in range(4)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, padding=1, bias=False) for i in range(4)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.dropout = nn.Dropout(config.options["dropout"])
        self.head = nn.Linear(2 * widths[-1], config.label_count)
        self.post_init()

    def forward(self, mel_BTF: Float[Tensor, "B T F"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        missing = max(0, 16 - mel_BTF.shape[1])  # four poolings need 16 frames
        x_BcTF = nn.functional.pad(mel_BTF, (0, 0, 0, missing))[:, None]
        x_BcTF = x_BcTF * mask_from(lengths_B, x_BcTF.shape[2], x_BcTF.device)[:, None, :, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x_BTFc = norm(convolution(x_BcTF).permute(0, 2, 3, 1)).relu()
            lengths_B = (lengths_B // 2).clamp(min=1)
            x_BcTF = nn.functional.avg_pool2d(x_BTFc.permute(0, 3, 1, 2), 2)
            # zeros beyond a clip's end, as the next convolution's own padding has them
            mask_BT = mask_from(lengths_B, x_BcTF.shape[2], x_BcTF.device)
            x_BcTF = x_BcTF * mask_BT[:, None, :, None]
        x_BTD = x_BcTF.mean(dim=3).transpose(1, 2)
        return self.head(self.dropout(torch.cat([masked_mean(x_BTD, mask_BT), masked_max(x_BTD, mask_BT)], dim=1)))
