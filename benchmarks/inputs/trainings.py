"""Trainings to measure: a model for some clips, and the loop that trains it, as the train job calls it."""

from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig
from audio_tokens.engine.train_config import TrainConfig, model_options
from audio_tokens.engine.training.loop import train_by_steps
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
from audio_tokens.engine.training.run_context import Progress, RunContext
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.shards.publish import published_file


def tagger_config(system: str, clips: Clips, config: TrainConfig, *, bands: int = 0) -> TaggerConfig:
    """Return what `system` is built from for `clips`: tokens of one stream of 500, or mel of so many bands."""
    return TaggerConfig(
        system=system,
        vocab_sizes=() if bands else (500,),
        bands=bands,
        longest=int(clips.lengths_C.max()),
        options=model_options(config),
        id2label={label: str(label) for label in range(clips.labels.count)},
    )


def train(model: Tagger, clips: Clips, config: TrainConfig, accelerator: Accelerator, folder: Path) -> Progress:
    """Train `model` for `config.epochs` with the production loop, without validation."""
    context = RunContext(
        config=config,
        seed=0,
        order=partial(order_of, config),
        accelerator=accelerator,
        folder=folder,
        publish=published_file,
    )
    loss = loss_of(config, torch.from_numpy(clips.labels.counts()), single_label=False)
    return train_by_steps(model, clips, None, Tagging(config=config, loss=loss, mask_ids=()), context, "choose")


def built(config: TaggerConfig, seed: int = 0) -> Tagger:
    """Return a model with weights drawn from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(config)
