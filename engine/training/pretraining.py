"""Masked-token pre-training: hide spans of a clip's tokens and predict them, on clips without labels.

Axes: B batch, T positions, Q token streams, K tokens of all streams, N hidden positions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.registry import MODEL_DAMAGED
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from audio_tokens.engine.systems.token_bert import TokenBert
from audio_tokens.engine.training.augment import spans
from audio_tokens.errors import UserError, damaged

HEADS = ("head.", "bag.", "encoder.pooling.", "ast.classifier.")  # what belongs to a task, and is not started from
INPUTS = ("embed.", "project.", "cls")  # what belongs to what is read, and may be there in one of two systems only


class MaskedTokens(TokenBert):
    """token-bert whose head names the tokens at hidden positions, all streams side by side."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        self.head = nn.Linear(config.options["width"], sum(config.vocab_sizes))
        for parameter in self.encoder.pooling.parameters():
            parameter.requires_grad_(False)  # nothing is pooled here, so DDP must not wait for it

    def forward(  # type: ignore[override]
        self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"], hidden_BT: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "N K"]:
        """Return the logits of every token at the hidden positions, clip by clip."""
        cls_D = self.embed.special(TokenEmbedding.CLS)
        x_BTD, _ = self.encoder.positions(cls_D, self.embed(ids_BTQ), lengths_B)
        return self.head(x_BTD[:, 1:][hidden_BT])


@dataclass(frozen=True, kw_only=True)
class MaskedPrediction:
    """Hides `share` of every clip's positions in spans, on all streams; a batch weighs its number of hidden tokens."""

    vocab_sizes: tuple[int, ...]
    share: float

    def prepare(self, batch: Batch, rng: np.random.Generator) -> tuple[Batch, float]:
        """Put MASK over hidden positions; `targets` [B, T, Q] holds what they hid, and -1 elsewhere."""
        lengths = batch.lengths_B.numpy()
        hidden_BT = spans(lengths, batch.input.shape[1], self.share, rng)
        lucky_B = rng.integers(0, lengths)  # every clip hides one position at least
        bare_B = ~hidden_BT.any(axis=1)
        hidden_BT[bare_B, lucky_B[bare_B]] = True
        device = batch.input.device
        hidden_BT1 = torch.from_numpy(hidden_BT).to(device)[..., None]
        mask_Q = torch.tensor(self.vocab_sizes, device=device) + TokenEmbedding.MASK
        targets_BTQ = torch.where(hidden_BT1, batch.input, -1)
        shown = Batch(torch.where(hidden_BT1, mask_Q, batch.input), batch.lengths_B, targets_BTQ)
        return shown, float(hidden_BT.sum() * len(self.vocab_sizes))

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy summed over hidden tokens of all streams."""
        hidden_BT = batch.targets[..., 0] >= 0
        logits_NK = model(batch.input, batch.lengths_B, hidden_BT).float()
        targets_NQ = batch.targets[hidden_BT]
        streams = logits_NK.split(list(self.vocab_sizes), dim=1)
        losses = [cross_entropy(x, targets_NQ[:, q], reduction="sum") for q, x in enumerate(streams)]
        return torch.stack(losses).sum()


def start_from(model: Tagger, folder: Path) -> None:
    """Copy the weights of the trained or pre-trained model in `folder` into `model`, all but the head.

    Learnt positions are copied as far as both reach. Raises UserError where nothing fits, a shape is another, or a
    layer stands in one of the two only.
    """
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    if not file.is_file():
        raise UserError(
            f"{folder} holds no model (model.safetensors is missing); start from a trained or pre-trained one"
        )
    try:
        theirs, ours = load_file(file), model.state_dict()
    except MODEL_DAMAGED as error:
        raise damaged(file, error) from None
    shared = [key for key in ours if key in theirs and not key.startswith(HEADS)]
    if not shared:
        raise UserError(f"{folder} shares no layer with {model.config.system}; pre-train the system that is trained")
    if alone := sorted(key for key in theirs.keys() ^ ours.keys() if not key.startswith(HEADS + INPUTS)):
        where = folder if alone[0] in theirs else "the new model"
        raise UserError(f"{alone[0]} stands in {where} alone; train with the options that {folder} was trained with")
    with torch.no_grad():
        for key in shared:
            mine, other = ours[key], theirs[key]
            if key.endswith("position_embeddings.weight"):
                reach = min(len(mine), len(other))
                mine[:reach] = other[:reach]
            elif mine.shape == other.shape:
                mine.copy_(other)
            else:
                raise UserError(f"{key}: {tuple(other.shape)} in {folder}, {tuple(mine.shape)} here; use one width")
