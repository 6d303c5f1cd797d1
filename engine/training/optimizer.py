"""The optimizer of a training, and the schedule of its rate."""

import math

import torch
from torch import nn

from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.train_config import TrainConfig


def adamw(model: Tagger, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW that decays matrices only; each group has its `share` of the learning rate (see layer_decay)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            share = config.layer_decay ** model.depth(name) if config.layer_decay < 1 else 1.0
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": ps, "weight_decay": decay, "share": share} for (share, decay), ps in groups.items()],
        lr=config.learning_rate,
        fused=True,
    )


def rate(step: int, config: TrainConfig, epoch_steps: int) -> float:
    """Return the share 0..1 of the learning rate that step `step` takes: a climb, then half a cosine down to zero."""
    steps = config.epochs * epoch_steps
    warmup = config.warmup_share * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
