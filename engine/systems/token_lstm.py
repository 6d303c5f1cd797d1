"""token-lstm: token embeddings through one bidirectional LSTM, pooled over the clip."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from audio_tokens.engine.systems.conv_front import ConvFront
from audio_tokens.engine.systems.pooling import Pooling
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding, mask_from
from audio_tokens.engine.systems.token_bag import bag_beside


class TokenLstm(Tagger):
    """One layer each way, pooled over real positions, then one linear layer."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width = config.options["width"]
        self.embed = TokenEmbedding(config.vocab_sizes, width, config.alternatives)
        self.dropout = nn.Dropout(config.options["dropout"])
        layers = config.options.get("convolutions", 0)  # models trained before there were any have no word on them
        self.conv_front = ConvFront(layers, width, config.options["dropout"]) if layers else None
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.pooling = Pooling(config.options["pooling"], 2 * width)
        self.head = nn.Linear(self.pooling.width, config.label_count)
        self.bag = bag_beside(config) if config.options.get("bag", False) else None

    def forward(
        self,
        ids_BTQ: Int64[Tensor, "B T Q"],
        lengths_B: Int64[Tensor, "B"],
        weights_BTQ: Float[Tensor, "B T Q"] | None = None,
    ) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BTD, real_B = self.dropout(self.embed(ids_BTQ, weights_BTQ)), lengths_B
        if self.conv_front is not None:
            x_BTD, lengths_B = self.conv_front(x_BTD, lengths_B)
        longest, lengths_B = x_BTD.shape[1], lengths_B.cpu()  # under DistributedDataParallel they come on its GPU
        if bool((lengths_B == longest).all()):  # nothing to skip: the plain call is up to twice as fast as a packed one
            x_BTD = self.lstm(x_BTD)[0]
        else:
            packed = nn.utils.rnn.pack_padded_sequence(x_BTD, lengths_B, batch_first=True, enforce_sorted=False)
            x_BTD = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=longest)[0]
        pooled_BD = self.pooling(x_BTD, mask_from(lengths_B, longest, ids_BTQ.device))
        logits_BL = self.head(self.dropout(pooled_BD))
        return logits_BL if self.bag is None or self.training else self.bag.with_vote(logits_BL, ids_BTQ, real_B)
