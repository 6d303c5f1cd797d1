"""What every system shares: one configuration, one way in and out, masks that follow lengths.

Axes: B batch, T frames or positions, P slices, F mel bands, D dimensions, Q token streams, L labels.
"""

import re
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from engine.slices import SliceConfig, position_count


class TaggerConfig(PreTrainedConfig):
    """A system, what it reads, what it tags; `config.json` of a trained model.

    `vocab_sizes` counts the codebook's tokens per stream (the model's own PAD, CLS and MASK follow them), `bands` is
    the width of a mel frame and 0 for token systems, `longest` the most positions or frames of a clip, `options` the
    system's own; `single_label` says that every clip has exactly one label: softmax, else a sigmoid per label.
    """

    model_type = "audio-tokens"

    def __init__(
        self,
        *,
        system: str = "",
        vocab_sizes: Any = (),
        bands: int = 0,
        longest: int = 1,
        single_label: bool = False,
        options: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        self.system = system
        self.vocab_sizes = list(vocab_sizes)
        self.bands = bands
        self.longest = longest
        self.single_label = single_label
        self.options = dict(options or {})
        super().__init__(**rest)

    @property
    def label_count(self) -> int:
        """How many labels the model tells apart."""
        return len(self.label_names)

    @property
    def label_names(self) -> list[str]:
        """The labels, in the order of the logits."""
        return list((self.id2label or {}).values())


class Tagger(PreTrainedModel):
    """Base of all systems: `forward(input, lengths_B) -> logits_BL`.

    `input` is ids_BTQ (int64) for token systems and mel_BTF (float32, normalised per clip) for raw ones; `lengths_B`
    (int64, on the CPU) counts the positions or frames of each clip that are real. What lies beyond a clip's length
    never changes its logits.
    """

    config_class = TaggerConfig
    config: TaggerConfig
    bf16_on_cpu = False  # whether bfloat16 arithmetic makes a training step faster there
    _tied_weights_keys: Any = None

    def _init_weights(self, module: nn.Module) -> None:
        """Leave layers as torch draws them; transformers would redraw them here."""

    def depth(self, name: str) -> int:
        """Return how many layers lie above the parameter `name`: 0 for the head, more towards the input."""
        layers = self.config.options.get("layers", 0)
        if numbered := re.search(r"\.layers?\.(\d+)\.", name):
            return layers - int(numbered[1])
        if re.search(r"embed|project|cls|conv", name) and "classifier" not in name:
            return layers + 1
        return 0 if re.search(r"head|classifier|pooling", name) else 1

    def initialise(self) -> None:
        """Load the weights that the options name, if any; called once before a training, never for a trained model."""

    def losses(self, logits_BL: Float[Tensor, "B L"], targets_BL: Float[Tensor, "B L"]) -> Float[Tensor, "B"]:
        """Return each clip's loss: cross-entropy where a clip has one label, else the mean binary one over labels."""
        if self.config.single_label:
            return nn.functional.cross_entropy(logits_BL, targets_BL, reduction="none")
        return nn.functional.binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none").mean(dim=1)


class TokenEmbedding(nn.Module):
    """Sum over streams of an embedding each; a stream's K tokens are followed by the model's PAD, CLS and MASK."""

    PAD, CLS, MASK = 0, 1, 2  # offsets after K
    first_Q: Tensor
    special_Q: Tensor

    def __init__(self, vocab_sizes: list[int], width: int) -> None:
        super().__init__()
        rows_Q = [size + 3 for size in vocab_sizes]
        self.table = nn.Embedding(sum(rows_Q), width)
        nn.init.normal_(self.table.weight, std=0.5)
        self.register_buffer("first_Q", torch.tensor([sum(rows_Q[:stream]) for stream in range(len(rows_Q))]))
        self.register_buffer("special_Q", torch.tensor(vocab_sizes))

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"]) -> Float[Tensor, "B T D"]:
        return self.table(ids_BTQ + self.first_Q).sum(dim=2)

    def special(self, which: int) -> Float[Tensor, "D"]:
        """Return the embedding of PAD, CLS or MASK, summed over streams like any other position's."""
        return self.table(self.first_Q + self.special_Q + which).sum(dim=0)


def mask_from(lengths_B: Int64[Tensor, "B"], longest: int, device: torch.device) -> Bool[Tensor, "B T"]:
    """Return which of `longest` positions are real: those below each clip's length."""
    return torch.arange(longest, device=device) < lengths_B.to(device)[:, None]


def masked_mean(x_BTD: Float[Tensor, "B T D"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
    """Return the mean over real positions."""
    return (x_BTD * mask_BT[..., None]).sum(dim=1) / mask_BT.sum(dim=1, keepdim=True)


def masked_max(x_BTD: Float[Tensor, "B T D"], mask_BT: Bool[Tensor, "B T"]) -> Float[Tensor, "B D"]:
    """Return the highest value over real positions."""
    return x_BTD.masked_fill(~mask_BT[..., None], float("-inf")).amax(dim=1)


def slices_of(
    mel_BTF: Float[Tensor, "B T F"], lengths_B: Int64[Tensor, "B"], context: int, stride: int
) -> tuple[Float[Tensor, "B P D"], Int64[Tensor, "B"]]:
    """Return each clip's stacked frames (D = context x F) and how many slices it has, as engine.slices counts them.

    Frame numbers are clamped to each clip's own last frame, so that padding is never read.
    """
    config = SliceConfig(contexts=(context,), stride=stride)
    counts_B = torch.tensor([position_count(frames, config) for frames in lengths_B.tolist()])
    first_P1 = torch.arange(int(counts_B.max()))[:, None] * stride
    frames_BPc = (first_P1 + torch.arange(context)).expand(len(lengths_B), -1, -1)
    frames_BPc = frames_BPc.minimum(lengths_B[:, None, None] - 1).to(mel_BTF.device)
    clips_B11 = torch.arange(len(lengths_B), device=mel_BTF.device)[:, None, None]
    return mel_BTF[clips_B11, frames_BPc].flatten(2), counts_B
