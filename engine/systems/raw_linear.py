"""raw-linear: three linear layers on every slice of mel, averaged over the clip."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, mask_from, masked_mean, slices_of


class RawLinear(Tagger):
    """Three layers on every slice; a clip's logits are the mean of its slices'."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width, self.context, self.stride = (config.options[name] for name in ("width", "context", "stride"))
        drop = nn.Dropout(config.options["dropout"])
        self.layers = nn.Sequential(
            nn.Linear(self.context * config.bands, width), nn.ReLU(), drop, nn.Linear(width, width), nn.ReLU(), drop
        )
        self.head = nn.Linear(width, config.label_count)

    def forward(self, mel_BTF: Float[Tensor, "B T F"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BPD, counts_B = slices_of(mel_BTF, lengths_B, self.context, self.stride)
        logits_BPL = self.head(self.layers(x_BPD))
        return masked_mean(logits_BPL, mask_from(counts_B, logits_BPL.shape[1], logits_BPL.device))
