"""token-linear: an embedding, its mean over the clip, one linear layer."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding, mask_from, masked_mean


class TokenLinear(Tagger):
    """A bag of learnt token vectors."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width = config.options["width"]
        self.embed = TokenEmbedding(config.vocab_sizes, width, config.alternatives)
        self.dropout = nn.Dropout(config.options["dropout"])
        self.head = nn.Linear(width, config.label_count)

    def forward(
        self,
        ids_BTQ: Int64[Tensor, "B T Q"],
        lengths_B: Int64[Tensor, "B"],
        weights_BTQ: Float[Tensor, "B T Q"] | None = None,
    ) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        mask_BT = mask_from(lengths_B, ids_BTQ.shape[1], ids_BTQ.device)
        return self.head(self.dropout(masked_mean(self.embed(ids_BTQ, weights_BTQ), mask_BT)))
