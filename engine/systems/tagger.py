"""What every system shares: one configuration, one way in and out, masks that follow lengths.

Axes: B batch, T frames or positions, P slices, F mel bands, D dimensions, Q token streams, M alternatives of a soft
token, C clips, L labels.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.codebook.slices import SliceConfig, position_count
from audio_tokens.engine.codebook.soft_tokens import ID, ID_BITS, TEMPERATURE
from audio_tokens.errors import UserError, checked

MODEL_TYPE = "audio-tokens"  # the name by which transformers finds the class of a model
NUMBERED = re.compile(r"(?:(?:^|\.)(?:layers?|convolutions|norms)\.|lstm\.\w+_l)(\d+)")  # a layer's own parameters


@dataclass(kw_only=True)
class TaggerConfig:
    """A system, what it reads, what it tags; `config.json` of a trained model, whose keys transformers reads as well.

    `vocab_sizes` counts the codebook's tokens per stream (the model's own PAD, CLS and MASK follow them),
    `alternatives` the soft tokens that a position has in each (1: plain tokens), `bands` is the width of the mel that
    is read at a time (a frame, or beside tokens a whole slice; 0 for none), `longest` the most positions or frames of a
    clip, `options` the system's own; `single_label` says that every clip has exactly one label: softmax, else a sigmoid
    per label; `id2label` names the logits, in their order.
    """

    system: str
    vocab_sizes: Sequence[int] = ()
    alternatives: int = 1
    bands: int = 0
    longest: int = 1
    single_label: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    id2label: Mapping[int, str]

    def __post_init__(self) -> None:
        self.vocab_sizes, self.options = list(self.vocab_sizes), dict(self.options)
        self.id2label = {index: self.id2label[index] for index in range(len(self.id2label))}

    @property
    def label_count(self) -> int:
        """How many labels the model tells apart."""
        return len(self.id2label)

    @property
    def label_names(self) -> list[str]:
        """The labels, in the order of the logits."""
        return list(self.id2label.values())

    def to_dict(self) -> dict[str, Any]:
        """Return config.json: the fields, and what transformers' own models say of themselves there."""
        return asdict(self) | {
            "model_type": MODEL_TYPE,
            "architectures": ["AudioTokensForAudioClassification"],
            "dtype": "float32",
            "problem_type": f"{'single' if self.single_label else 'multi'}_label_classification",
            "label2id": {label: index for index, label in self.id2label.items()},
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "TaggerConfig":
        """Return what `to_dict` wrote. Raises KeyError, TypeError or ValueError for what it did not."""
        own = {name: checked(found, KINDS)[name] for name in KINDS}
        if not all(type(size) is int and size > 0 for size in own["vocab_sizes"]) or own["alternatives"] < 1:
            raise ValueError(f"vocab_sizes {own['vocab_sizes']!r:.60}, alternatives {own['alternatives']}")
        return cls(**own | {"id2label": {int(index): label for index, label in own["id2label"].items()}})


KINDS = {
    **{"system": str, "single_label": bool, "options": dict, "id2label": dict, "vocab_sizes": list},
    **dict.fromkeys(("alternatives", "bands", "longest"), int),
}


class Tagger(nn.Module):
    """Base of all systems: `forward(input, lengths_B, **beside) -> logits_BL`.

    `input` is ids_BTQ (int64; M columns a stream where tokens are soft) for token systems and mel_BTF (float32,
    normalised per clip) for raw ones; `lengths_B` (int64; on the CPU, but where DistributedDataParallel has moved it to
    its GPU) counts the positions or frames of each clip that are real; `beside` is a batch's (see engine/clips). What
    lies beyond a clip's length never changes its logits.
    """

    bf16_on_cpu = False  # whether bfloat16 arithmetic makes a training step faster there

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def trainable_parameters(self) -> int:
        """How many numbers a training changes."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def depth(self, name: str) -> int:
        """Return how many layers lie above the parameter `name`: 0 for the head, more towards the input."""
        numbers = sorted({int(found[1]) for other, _ in self.named_parameters() if (found := NUMBERED.search(other))})
        if numbered := NUMBERED.search(name):
            return len(numbers) - numbers.index(int(numbered[1]))
        if re.search(r"embed|project|cls|conv", name) and "classifier" not in name:
            return len(numbers) + 1
        return 0 if re.search(r"head|classifier|pooling", name) else 1

    def initialise(self, centroids: Sequence[Float32[np.ndarray, "_ _"]] = ()) -> None:
        """Make or load the weights that the options name; called once before a training, never for a trained model.

        `centroids` are those of the tokens' codebook, a table per stream: with the option `embedding: centroids` a
        token's vector begins as a linear image of its centroid, else (`drawn`) it stays as it was drawn.
        """
        if self.config.options.get("embedding", "drawn") == "centroids":
            embed = self.get_submodule("embed")
            assert isinstance(embed, TokenEmbedding), "only systems of tokens have this option"
            embed.start_from(centroids)

    def solve(self, clips: Clips, say: Callable[[str], None] = lambda line: None) -> float:
        """Fit to all versions of the clips at once, where the registry says that the system is solved; see TokenBag."""
        raise NotImplementedError

    def losses(self, logits_BL: Float[Tensor, "B L"], targets_BL: Float[Tensor, "B L"]) -> Float[Tensor, "B"]:
        """Return each clip's loss: cross-entropy where a clip has one label, else the mean binary one over labels."""
        if self.config.single_label:
            return nn.functional.cross_entropy(logits_BL, targets_BL, reduction="none")
        return nn.functional.binary_cross_entropy_with_logits(logits_BL, targets_BL, reduction="none").mean(dim=1)


class TokenEmbedding(nn.Module):
    """Sum over streams of an embedding each; a stream's K tokens are followed by the model's PAD, CLS and MASK.

    With `weights_BTQ` it is a weighted sum, of as many ids a position as a multiple of the streams: two clips blended
    are the ids of one and the ids of the other. Of soft tokens, each of a stream's `alternatives` weighs its share.
    """

    PAD, CLS, MASK = 0, 1, 2  # offsets after K
    SPREAD = 0.5  # standard deviation of the vectors before training
    first_Q: Tensor
    special_Q: Tensor

    def __init__(self, vocab_sizes: Sequence[int], width: int, alternatives: int = 1) -> None:
        super().__init__()
        self.alternatives = alternatives
        rows_Q = [size + 3 for size in vocab_sizes]
        self.table = nn.Embedding(sum(rows_Q), width)
        nn.init.normal_(self.table.weight, std=self.SPREAD)
        # not saved: the configuration says them, and a damaged one would be looked up beyond the table
        first_Q = torch.tensor([sum(rows_Q[:stream]) for stream in range(len(rows_Q))])
        self.register_buffer("first_Q", first_Q, persistent=False)
        self.register_buffer("special_Q", torch.tensor(vocab_sizes), persistent=False)

    def forward(
        self, ids_BTQ: Int64[Tensor, "B T Q"], weights_BTQ: Float[Tensor, "B T Q"] | None = None
    ) -> Float[Tensor, "B T D"]:
        if weights_BTQ is None and self.alternatives == 1:
            return self.table(ids_BTQ + self.first_Q).sum(dim=2)
        ids_BTQM, shares_BTQM = soft_tokens(ids_BTQ, self.alternatives)
        if weights_BTQ is not None:
            shares_BTQM = shares_BTQM * weights_BTQ.unflatten(2, (-1, self.alternatives))
        first_Q1 = self.first_Q.repeat(ids_BTQM.shape[2] // len(self.first_Q))[:, None]
        rows_NM, shares_NM = (x.flatten(2).flatten(0, 1) for x in (ids_BTQM + first_Q1, shares_BTQM))
        # a third of the time of looking vectors up and adding them, which writes every one of them down
        summed_ND = nn.functional.embedding_bag(
            rows_NM, self.table.weight, per_sample_weights=shares_NM.to(self.table.weight.dtype), mode="sum"
        )
        return summed_ND.unflatten(0, ids_BTQM.shape[:2])

    @torch.no_grad()
    def start_from(self, centroids: Sequence[Float32[np.ndarray, "_ _"]]) -> None:
        """Put every token where its centroid is: an image that keeps distances, at the spread the table has otherwise.

        Raises UserError unless there is a centroid for every token of every stream.
        """
        sizes = self.special_Q.tolist()
        if [len(centroids_KD) for centroids_KD in centroids] != sizes:
            found = [len(centroids_KD) for centroids_KD in centroids]
            raise UserError(f"{found} centroids for tokens of {sizes}; give the codebook the tokens were made with")
        for first, size, centroids_KD in zip(self.first_Q.tolist(), sizes, centroids, strict=True):
            image_KW = image(torch.from_numpy(centroids_KD).double(), self.table.embedding_dim)
            self.table.weight[first : first + size] = image_KW * (self.SPREAD / image_KW.std().clamp(min=1e-12))

    def special(self, which: int) -> Float[Tensor, "D"]:
        """Return the embedding of PAD, CLS or MASK, summed over streams like any other position's."""
        return self.table(self.first_Q + self.special_Q + which).sum(dim=0)


def image(centroids_KD: Float[Tensor, "K D"], width: int) -> Float[Tensor, "K W"]:
    """Return the centroids around their mean in `width` dimensions, linearly, with distances as they are.

    Where they span more dimensions than that, what lies along their first principal axes. The axes are turned by a
    random rotation: streams whose images are summed would otherwise all lie along the same few dimensions.
    """
    centred_KD = centroids_KD - centroids_KD.mean(dim=0)
    axes_AD = torch.linalg.svd(centred_KD, full_matrices=False)[2][:width]
    turn_WA = torch.linalg.qr(torch.randn(width, len(axes_AD), dtype=centroids_KD.dtype))[0]
    return centred_KD @ axes_AD.T @ turn_WA.T


def soft_tokens(
    tokens: Int64[Tensor, "B T QM"], alternatives: int
) -> tuple[Int64[Tensor, "B T Q M"], Float[Tensor, "B T Q M"]]:
    """Return ids and shares of soft tokens, as soft_tokens.unpacked does; of plain ones, shares of 1."""
    tokens_BTQM = tokens.unflatten(2, (-1, alternatives))
    if alternatives == 1:  # a softmax of one takes longer than all else that a bag of tokens does
        return tokens_BTQM, torch.ones(tokens_BTQM.shape, device=tokens.device)
    return tokens_BTQM & ID, ((tokens_BTQM >> ID_BITS) / (127.5 * TEMPERATURE)).softmax(dim=-1)


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
    """Return each clip's stacked frames (D = context x F) and how many slices it has, as slices.py counts them.

    Frame numbers are clamped to each clip's own last frame, so that padding is never read.
    """
    config, lengths_B = SliceConfig(contexts=(context,), stride=stride), lengths_B.cpu()
    counts_B = torch.tensor([position_count(frames, config) for frames in lengths_B.tolist()])
    first_P1 = torch.arange(int(counts_B.max()))[:, None] * stride
    frames_BPc = (first_P1 + torch.arange(context)).expand(len(lengths_B), -1, -1)
    frames_BPc = frames_BPc.minimum(lengths_B[:, None, None] - 1).to(mel_BTF.device)
    clips_B11 = torch.arange(len(lengths_B), device=mel_BTF.device)[:, None, None]
    return mel_BTF[clips_B11, frames_BPc].flatten(2), counts_B
