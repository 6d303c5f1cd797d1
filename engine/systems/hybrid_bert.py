"""hybrid-bert: at every position the token and the mel it was made from, then a BERT over the whole clip."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.encoder import Encoder
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding


class HybridBert(Tagger):
    """Summed embeddings plus the projected slice of mel, a BERT, a linear layer."""

    bf16_on_cpu = True

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width = config.options["width"]
        self.embed = TokenEmbedding(config.vocab_sizes, width, config.alternatives)
        self.project = nn.Linear(config.bands, width)
        self.encoder = Encoder(config.options, config.longest)
        self.head = nn.Linear(self.encoder.width, config.label_count)

    def forward(
        self,
        ids_BTQ: Int64[Tensor, "B T Q"],
        lengths_B: Int64[Tensor, "B"],
        slices_BTD: Float[Tensor, "B T D"],
        weights_BTQ: Float[Tensor, "B T Q"] | None = None,
    ) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BTD = self.embed(ids_BTQ, weights_BTQ) + self.project(slices_BTD)
        return self.head(self.encoder(self.embed.special(TokenEmbedding.CLS), x_BTD, lengths_B))
