"""What is chosen about the training of a system; light, since recipes and `--help` read it.

A system's own options (engine/systems/options.py) extend one of these classes and bring their own defaults.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

from audio_tokens.engine.ranges import (
    Count,
    InnerShare,
    Natural,
    NotNegative,
    Positive,
    ShareAbove0,
    ShareBelow1,
    check,
)


@dataclass(frozen=True, kw_only=True)
class TagConfig:
    """What every system that tags clips has, one that is solved at once too.

    Args:
        inner_share: share of the source recordings held out of the training clips where a choice is needed
        score_views: score a clip by the mean over itself and its views, where the tokens have any (`encode --views`)
        soft: take a position as its nearest tokens, each by its share, instead of the nearest (`encode --top M`)
    """

    inner_share: InnerShare = 0.2
    score_views: bool = False
    soft: bool = False

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """What every training by steps has, with labels or without.

    Args:
        epochs: passes over the training clips
        batch_clips: clips in a step, over all processes together
        learning_rate: AdamW's highest, reached after the warm-up
        weight_decay: AdamW's, on matrices only (no bias, no norm)
        warmup_share: share of all steps in which the rate climbs; a half cosine down to zero follows
        clip_norm: longest gradient let through; 0 lets all
        precision: auto takes bf16 where it pays, else fp32
        checkpoint_steps: steps between saves of the last state; 0 saves at the end of an epoch
        micro_clips: clips that a process works on at once, the gradients of a step being added up; 0 takes all
        bucketing: make batches of clips of similar length, which are padded less
        average: none, or ema or swa, averages of the weights, which are then what is scored and kept
    """

    epochs: Count = 20
    batch_clips: Count = 32
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    warmup_share: ShareBelow1 = 0.1
    clip_norm: NotNegative = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    checkpoint_steps: Natural = 0
    micro_clips: Natural = 0
    bucketing: bool = False
    average: Literal["none", "ema", "swa"] = "none"

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StepConfig, TagConfig):
    """The training of a system by steps, on labelled clips.

    Args:
        patience: epochs without a better validation mAP after which training stops; 0 never stops early
        loss: plain, or balanced, which weighs rare labels more (Cui et al. 2019)
        label_smoothing: share of a target spread over the other labels
        sampling: uniform, or weighted, which draws clips with rare labels more often
        roll: begin a training clip anywhere and let its head follow its tail
        crop: share of a training clip that a step sees, a run of it anywhere; 1 shows the whole clip
        mix: share of batches whose clips are mixed with each other, labels alike; mel is blended
        mix_kind: how clips of tokens are mixed: tokens, a run of one takes a place in the other; or embeddings, blended
        drop_spans: share of a training clip's positions or frames that are cut out of it, in short spans
        mask: share of a training clip's positions that are masked; for mel, the widest masked run and band
        layer_decay: a layer's rate as a share of the one above it, when fine-tuning; 1 trains all alike
    """

    patience: Natural = 0
    loss: Literal["plain", "balanced"] = "plain"
    label_smoothing: ShareBelow1 = 0.0
    sampling: Literal["uniform", "weighted"] = "uniform"
    roll: bool = False
    crop: ShareAbove0 = 1.0
    mix: ShareBelow1 = 0.0
    mix_kind: Literal["tokens", "embeddings"] = "tokens"
    drop_spans: ShareBelow1 = 0.0
    mask: ShareBelow1 = 0.0
    layer_decay: ShareAbove0 = 1.0


TRAINING = frozenset(field.name for field in fields(TrainConfig))


def training_of(options: TagConfig | StepConfig) -> TrainConfig:
    """Return how a system is trained and scored by its options; what they have no word on stays at its default."""
    return TrainConfig(**{f.name: getattr(options, f.name) for f in fields(options) if f.name in TRAINING})


def model_options(options: TagConfig | StepConfig) -> dict[str, Any]:
    """Return those of a system's options that its model is built by: all that do not say how it is trained."""
    return {f.name: getattr(options, f.name) for f in fields(options) if f.name not in TRAINING}
