"""The transformer that the bert systems share: a real [CLS] in front, the whole clip, masks from lengths.

Axes: B batch, T positions, D dimensions.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

from audio_tokens.engine.systems.pooling import Pooling
from audio_tokens.engine.systems.tagger import mask_from
from audio_tokens.errors import UserError


class Encoder(nn.Module):
    """A fresh BERT over given embeddings, pooled to one vector a clip.

    `options` are BertOptions and pooling (engine/systems/options.py). Attention is not dropped, which would cost a
    third of a step on a CPU; `learnt` positions are one for [CLS] and each of the `longest` positions of a clip (the
    predecessor's BERT saw 512 of 1,723 frames and had no [CLS]).
    """

    def __init__(self, options: Mapping[str, Any], longest: int) -> None:
        super().__init__()
        self.longest, width = longest, options["width"]
        self.conv = nn.Conv1d(width, width, options["conv"], padding="same", groups=width) if options["conv"] else None
        self.body = BODIES[options["positions"]](options, longest + 1)
        # on a CPU the fused kernel's backward pass takes twice the time of plain matrix products in bfloat16
        self.body.set_attn_implementation("sdpa" if torch.cuda.is_available() else "eager")
        for parameter in self.body.get_input_embeddings().parameters():
            parameter.requires_grad_(False)  # never looked up, so DDP must not wait for it
        self.pooling = Pooling(options["pooling"], width)
        self.dropout = nn.Dropout(options["dropout"])
        self.width = self.pooling.width

    def forward(
        self, cls_D: Float[Tensor, "D"], x_BTD: Float[Tensor, "B T D"], lengths_B: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B E"]:
        """Return one vector a clip. UserError for too long a clip."""
        x_BTD, mask_BT = self.positions(cls_D, x_BTD, lengths_B)
        return self.dropout(self.pooling(x_BTD, mask_BT))

    def positions(
        self, cls_D: Float[Tensor, "D"], x_BTD: Float[Tensor, "B T D"], lengths_B: Int64[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B U D"], Bool[Tensor, "B U"]]:
        """Return what the transformer makes of [CLS] (first) and every position, and which of them are real."""
        if x_BTD.shape[1] > self.longest:
            raise UserError(f"a clip of {x_BTD.shape[1]} positions exceeds the {self.longest} this model was built for")
        if self.conv is not None:
            real_BT = mask_from(lengths_B, x_BTD.shape[1], x_BTD.device)
            mixed_BDT = self.conv((x_BTD * real_BT[..., None]).transpose(1, 2))
            x_BTD = x_BTD + nn.functional.gelu(mixed_BDT).transpose(1, 2)
        x_BTD = torch.cat([cls_D.to(x_BTD.dtype).expand(len(x_BTD), 1, -1), x_BTD], dim=1)
        mask_BT = mask_from(lengths_B + 1, x_BTD.shape[1], x_BTD.device)
        return self.body(inputs_embeds=x_BTD, attention_mask=mask_BT).last_hidden_state, mask_BT


def _bert(options: Mapping[str, Any], positions: int) -> BertModel:
    config = BertConfig(
        vocab_size=1,  # embeddings are handed in
        type_vocab_size=1,
        hidden_size=options["width"],
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        intermediate_size=4 * options["width"],
        hidden_dropout_prob=options["dropout"],
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=positions,
    )
    return BertModel(config, add_pooling_layer=False)


def _modern_bert(options: Mapping[str, Any], positions: int) -> ModernBertModel:
    config = ModernBertConfig(
        vocab_size=1,
        pad_token_id=0,
        bos_token_id=None,  # these four would be ids of a text's vocabulary
        eos_token_id=None,
        cls_token_id=None,
        sep_token_id=None,
        hidden_size=options["width"],
        num_hidden_layers=options["layers"],
        num_attention_heads=options["heads"],
        intermediate_size=2 * options["width"],  # gated: two such matrices in, one out
        embedding_dropout=options["dropout"],
        mlp_dropout=options["dropout"],
        attention_dropout=0.0,
        layer_types=["full_attention"] * options["layers"],
        max_position_embeddings=positions,
    )
    return ModernBertModel(config)


BODIES = {"learnt": _bert, "rotary": _modern_bert}
