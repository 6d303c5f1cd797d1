"""token-lstm: token embeddings through one bidirectional LSTM, pooled over the clip."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding, mask_from, masked_max, masked_mean


class TokenLstm(Tagger):
    """One layer each way, then the mean and the highest value over real positions, then one linear layer.

    Options: width (dimensions each way), dropout (share, on the embeddings and on the pooled vector).
    """

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        width = config.options["width"]
        self.embed = TokenEmbedding(config.vocab_sizes, width)
        self.dropout = nn.Dropout(config.options["dropout"])
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(4 * width, config.label_count)
        self.post_init()

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        x_BTD = self.dropout(self.embed(ids_BTQ))
        longest = x_BTD.shape[1]
        if bool((lengths_B == longest).all()):  # nothing to skip: the plain call is up to twice as fast as a packed one
            x_BTD = self.lstm(x_BTD)[0]
        else:
            packed = nn.utils.rnn.pack_padded_sequence(x_BTD, lengths_B, batch_first=True, enforce_sorted=False)
            x_BTD = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=longest)[0]
        mask_BT = mask_from(lengths_B, longest, ids_BTQ.device)
        pooled_BD = torch.cat([masked_mean(x_BTD, mask_BT), masked_max(x_BTD, mask_BT)], dim=1)
        return self.head(self.dropout(pooled_BD))
