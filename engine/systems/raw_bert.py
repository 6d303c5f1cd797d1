"""raw-bert: projected slices of mel in place of token embeddings."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.codebook.slices import SliceConfig, position_count
from audio_tokens.engine.systems.encoder import Encoder
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, slices_of


class RawBert(Tagger):
    """Slices through one linear layer, a BERT, a linear layer."""

    bf16_on_cpu = True

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width, self.context, self.stride = (config.options[name] for name in ("width", "context", "stride"))
        slices = SliceConfig(contexts=(self.context,), stride=self.stride)
        self.project = nn.Linear(self.context * config.bands, width)
        self.cls = nn.Parameter(torch.randn(width) * 0.02)
        self.encoder = Encoder(config.options, position_count(config.longest, slices))
        self.head = nn.Linear(self.encoder.width, config.label_count)

    def forward(self, mel_BTF: Float[Tensor, "B T F"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BPD, counts_B = slices_of(mel_BTF, lengths_B, self.context, self.stride)
        return self.head(self.encoder(self.cls, self.project(x_BPD), counts_B))
