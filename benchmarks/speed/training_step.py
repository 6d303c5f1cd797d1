"""Training token-bert: our loop beside a bare PyTorch loop on batches made beforehand, and transformers' Trainer.

Expected before measuring, one core, float32, token-bert as it comes (2 layers, width 96), 32 clips of 215 tokens: a
step takes 60 to 100 ms; our loop 1.00 to 1.02 times the bare one (a batch, a seed and two scalars a step: under 1 ms),
the Trainer 1.02 to 1.05 (its samplers, callbacks and scheduler). Assembling a batch is 0.1 % of a step.

Buckets by length: clips of 40 to 215 tokens, evenly, pad 1.65 times their number of tokens as shuffled (the longest of
32 is nearly 215, the mean 128) and 1.05 times in buckets, so 35 to 40 % of the time is saved, more than the share of
padding since attention is quadratic; with equal lengths 0, but for noise. torch.compile gained nothing on a CPU, where
the time is in matrix products already (0.9 to 1.1 times as fast once compiled), and is not offered.
"""

from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.options import TokenBertOptions
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.optimizer import adamw
from audio_tokens.engine.world import processes
from audio_tokens.shards.plan import epoch_order
from benchmarks.harness import FLOOR, Report, silent
from benchmarks.inputs.trainings import tagger_config, train
from benchmarks.speed.batches import token_rows

BARE = FLOOR + "bare PyTorch loop"


def bench(report: Report) -> None:
    steps = 12 if report.quick else 48
    config = TokenBertOptions(epochs=1, precision="fp32")
    clips = Clips.of(token_rows(steps * config.batch_clips))
    tagger = tagger_config("token-bert", clips, config)
    order_C = epoch_order(len(clips), 0, 0)
    batches = [clips.batch(part) for part in order_C.reshape(steps, -1)]
    folders = (report.folder / f"run-{number}" for number in count())
    with processes() as accelerator:

        def ours(clips: Clips = clips, **changes: Any) -> None:
            train(build(tagger), clips, replace(config, **changes), accelerator, next(folders))

        contenders = {
            "engine.training.loop": ours,
            "transformers' Trainer": lambda: _trainer(build(tagger), clips, config, str(next(folders))),
            BARE: lambda: _bare(build(tagger), batches, config),
            "part: batches": lambda: [clips.batch(part) for part in order_C.reshape(steps, -1)],
        }
        race = report.race("token-bert", contenders, work=steps, unit="steps", rounds=5, round_s=0)
        report.bar("our step over a bare loop's", race.over(BARE), at_most=1.05)
        report.bar("speed over transformers' Trainer", race.speedup("transformers' Trainer"), at_least=1)
        report.bar(
            "share of a step that is batch assembly",
            race.ratio("part: batches", "engine.training.loop"),
            at_most=0.03,
        )

        for case, mixed in (
            ("lengths of 40 to 215", Clips.of(token_rows(len(clips), shorter_every=1, shortest=40))),
            ("equal lengths", Clips.of(token_rows(len(clips), shorter_every=0))),
        ):
            contenders = {
                "bucketing": partial(ours, mixed, bucketing=True),
                "as shuffled": partial(ours, mixed),
            }
            race = report.race(case, contenders, work=steps, unit="steps", rounds=3, round_s=0)
            report.figures(case, time_saved=1 - race.over("as shuffled"))


def _bare(model: Tagger, batches: list[Batch], config: TrainConfig) -> None:
    """What one writes in ten lines."""
    optimizer = adamw(model, config)
    model.train()
    for batch in batches:
        loss = binary_cross_entropy_with_logits(model(batch.input, batch.lengths_B), batch.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()


def _trainer(model: Tagger, clips: Clips, config: TrainConfig, folder: str) -> None:
    from transformers import Trainer, TrainingArguments

    class WithLoss(torch.nn.Module):
        """What Trainer expects of a model: the loss with the logits."""

        def __init__(self) -> None:
            super().__init__()
            self.tagger = model

        def forward(
            self, input: torch.Tensor, lengths_B: torch.Tensor, targets: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            logits_BL = self.tagger(input, lengths_B)
            return {"loss": binary_cross_entropy_with_logits(logits_BL, targets), "logits": logits_BL}

    def collate(chosen: list[int]) -> dict[str, torch.Tensor]:
        batch = clips.batch(np.array(chosen))
        return {"input": batch.input, "lengths_B": batch.lengths_B, "targets": batch.targets}

    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=config.batch_clips,
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip_norm,
        lr_scheduler_type="cosine",
        optim="adamw_torch_fused",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    numbers = list(range(len(clips)))
    with silent():
        Trainer(model=WithLoss(), args=arguments, train_dataset=numbers, data_collator=collate).train()  # type: ignore[arg-type]
