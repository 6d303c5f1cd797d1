"""token-bert: a fresh BERT over the whole clip's tokens, behind a real [CLS]."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.conv_front import ConvFront
from audio_tokens.engine.systems.encoder import Encoder
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding


class TokenBert(Tagger):
    """Embeddings summed over streams, a BERT, a linear layer."""

    bf16_on_cpu = True

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        self.embed = TokenEmbedding(config.vocab_sizes, config.options["width"], config.alternatives)
        layers, width = config.options.get("convolutions", 0), config.options["width"]  # pre-training has none
        self.conv_front = ConvFront(layers, width, config.options["dropout"]) if layers else None
        self.encoder = Encoder(config.options, config.longest)
        self.head = nn.Linear(self.encoder.width, config.label_count)

    def forward(
        self,
        ids_BTQ: Int64[Tensor, "B T Q"],
        lengths_B: Int64[Tensor, "B"],
        weights_BTQ: Float[Tensor, "B T Q"] | None = None,
    ) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BTD = self.embed(ids_BTQ, weights_BTQ)
        if self.conv_front is not None:
            x_BTD, lengths_B = self.conv_front(x_BTD, lengths_B)
        return self.head(self.encoder(self.embed.special(TokenEmbedding.CLS), x_BTD, lengths_B))
