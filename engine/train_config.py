"""What is chosen about the training of a system; light, since recipes and `--help` read it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audio_tokens.errors import UserError, did_you_mean

CHOICES = {
    "precision": ("auto", "fp32", "bf16"),
    "loss": ("plain", "balanced", "focal", "asymmetric"),
    "sampling": ("uniform", "weighted"),
    "average": ("none", "ema", "swa"),
    "mix_kind": ("tokens", "embeddings"),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training of one system. A system brings its own values; a recipe or a command line lays others over them.

    Args:
        epochs: passes over the training clips
        batch_clips: clips in a step, over all processes together
        learning_rate: AdamW's highest, reached after the warm-up
        weight_decay: AdamW's, on matrices only (no bias, no norm)
        warmup_share: share of all steps in which the rate climbs; a half cosine down to zero follows
        clip_norm: longest gradient let through; 0 lets all
        precision: auto takes bf16 where it pays, else fp32
        patience: epochs without a better validation mAP after which training stops; 0 never stops early
        checkpoint_steps: steps between saves of the last state; 0 saves at the end of an epoch
        inner_share: share of the source recordings held out of the training folds where a choice is needed
        micro_clips: clips that a process works on at once, the gradients of a step being added up; 0 takes all
        loss: plain, or balanced, focal or asymmetric (engine/losses.py), which listen to rare labels
        label_smoothing: share of a target spread over the other labels
        sampling: uniform, or weighted, which draws clips by how rare their labels are (engine/sampling.py)
        bucketing: make batches of clips of similar length, which are padded less (shards/plan.py)
        average: none, or ema or swa, averages of the weights, which are then what is scored and kept
        roll: begin a training clip anywhere and let its head follow its tail
        crop: share of a training clip that a step sees, a run of it anywhere; 1 shows the whole clip
        mix: share of batches whose clips are mixed with each other, labels alike (engine/augment.py)
        mix_kind: how clips of tokens are mixed: tokens, a run of one takes a place in the other; or embeddings, blended
        drop_spans: share of a training clip's positions or frames that are cut out of it, in short spans
        mask: share of a training clip's positions that are masked; for mel, the widest masked run and band
        score_views: score a clip by the mean over itself and its views, where the tokens have any (`encode --views`)
        soft: take a position as its nearest tokens, each by its share, instead of the nearest (`encode --top M`)
        layer_decay: a layer's rate as a share of the one above it, when fine-tuning; 1 trains all alike
        compile: let torch.compile make the training step; it gains nothing on a CPU (benchmarks/training_step.py)
    """

    epochs: int = 20
    batch_clips: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    clip_norm: float = 1.0
    precision: str = "auto"
    patience: int = 0
    checkpoint_steps: int = 0
    inner_share: float = 0.2
    micro_clips: int = 0
    loss: str = "plain"
    label_smoothing: float = 0.0
    sampling: str = "uniform"
    bucketing: bool = False
    average: str = "none"
    roll: bool = False
    crop: float = 1.0
    mix: float = 0.0
    mix_kind: str = "tokens"
    drop_spans: float = 0.0
    mask: float = 0.0
    score_views: bool = False
    soft: bool = False
    layer_decay: float = 1.0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range with a word on what is allowed."""
        positive = ("epochs", "batch_clips", "learning_rate")
        natural = ("weight_decay", "clip_norm", "patience", "checkpoint_steps", "micro_clips")
        for name in positive:
            _require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a number above 0")
        for name in natural:
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(0 <= self.warmup_share < 1, "warmup_share", self.warmup_share, "a share from 0 to below 1")
        _require(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "a share above 0, up to 1")
        _require(0 < self.crop <= 1, "crop", self.crop, "a share above 0, up to 1")
        _require(0 < self.inner_share < 1, "inner_share", self.inner_share, "a share between 0 and 1")
        for name in ("label_smoothing", "mix", "drop_spans", "mask"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share from 0 to below 1")
        for name, choices in CHOICES.items():
            _require(getattr(self, name) in choices, name, getattr(self, name), f"one of {', '.join(choices)}")

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> "TrainConfig":
        """Return the configuration that `layers` describe, a later layer winning over an earlier one.

        Raises UserError for an unknown name (with the nearest one) or a value of the wrong type or range.
        """
        return cls(**settings({field.name: field.default for field in dataclasses.fields(cls)}, *layers))


def settings(defaults: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return `defaults` with `layers` laid over them, every value cast to its default's type.

    Raises UserError for a name that has no default (with the nearest one) or a value of another type.
    """
    chosen = dict(defaults)
    for layer in layers:
        for name, value in layer.items():
            if name not in defaults:
                raise UserError(f"unknown training option {name!r}; {did_you_mean(name, sorted(defaults))}")
            chosen[name] = _as(type(defaults[name]), name, value)
    return chosen


def _as(kind: type, name: str, value: Any) -> Any:
    """Return `value` as `kind`; YAML reads 3 where 3.0 is meant, and `3e-4` as a word."""
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    try:
        number = float(value) if kind in (int, float) and not isinstance(value, bool) else None
    except (TypeError, ValueError):
        number = None
    if number is None or (kind is int and number != int(number)):
        raise UserError(f"{name} is {value!r}; it must be a value of type {kind.__name__}")
    return kind(number)


def _require(holds: bool, name: str, value: Any, rule: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value}; it must be {rule}")
