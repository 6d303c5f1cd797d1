"""The transformer that token-bert and raw-bert share: a real [CLS] in front, the whole clip, masks from lengths.

Axes: B batch, T positions, D dimensions.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from engine.errors import EngineError
from engine.systems.tagger import mask_from


class Encoder(nn.Module):
    """A fresh BERT over given embeddings.

    Options: width (dimensions), layers, heads, dropout (share of hidden values; attention itself is not dropped,
    which costs a third of a step on a CPU). Positions are learnt, one for [CLS] and each of the `longest` positions
    of a clip: the predecessor's BERT saw 512 of 1,723 frames and had no [CLS].
    """

    def __init__(self, options: dict[str, Any], longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.bert = BertModel(
            BertConfig(
                vocab_size=1,  # embeddings are handed in
                type_vocab_size=1,
                hidden_size=options["width"],
                num_hidden_layers=options["layers"],
                num_attention_heads=options["heads"],
                intermediate_size=4 * options["width"],
                hidden_dropout_prob=options["dropout"],
                attention_probs_dropout_prob=0.0,
                max_position_embeddings=longest + 1,
            ),
            add_pooling_layer=False,
        )
        # on a CPU the fused kernel's backward pass takes twice the time of plain matrix products in bfloat16
        self.bert.set_attn_implementation("sdpa" if torch.cuda.is_available() else "eager")
        self.bert.embeddings.word_embeddings.requires_grad_(False)  # never looked up, so DDP must not wait for it

    def forward(
        self, cls_D: Float[Tensor, "D"], x_BTD: Float[Tensor, "B T D"], lengths_B: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B T+1 D"]:
        """Return what the transformer makes of [CLS] (first) and every position. EngineError for too long a clip."""
        if x_BTD.shape[1] > self.longest:
            raise EngineError(
                f"a clip of {x_BTD.shape[1]} positions exceeds the {self.longest} this model was built for"
            )
        x_BTD = torch.cat([cls_D.to(x_BTD.dtype).expand(len(x_BTD), 1, -1), x_BTD], dim=1)
        mask_BT = mask_from(lengths_B + 1, x_BTD.shape[1], x_BTD.device)
        return self.bert(inputs_embeds=x_BTD, attention_mask=mask_BT).last_hidden_state
