"""Training token-bert: our loop beside a bare PyTorch loop on batches made beforehand, and transformers' Trainer.

Expected before measuring, one core, float32, token-bert as it comes (2 layers, width 96), 32 clips of 215 tokens: a
step takes 60 to 100 ms; our loop 1.00 to 1.02 times the bare one (a batch, a seed and two scalars a step: under 1 ms),
the Trainer 1.02 to 1.05 (its samplers, callbacks and scheduler). Assembling a batch is 0.1 % of a step.
"""

from itertools import count

import numpy as np
import torch

from benchmarks.batches import LABELS, token_clips
from benchmarks.harness import FLOOR, Report
from engine.checkpoints import Checkpoints
from engine.clips import Batch, TokenClips
from engine.loop import Order, adamw, fit
from engine.processes import processes
from engine.systems import build, resolve
from engine.systems.tagger import Tagger, TaggerConfig
from engine.train_config import TrainConfig
from shards.plan import epoch_order, rank_batch
from shards.publish import published_file

BARE = FLOOR + "bare PyTorch loop"


def bench(report: Report) -> None:
    config, options = resolve("token-bert", {"epochs": 1, "precision": "fp32"}, {})
    steps = 4 if report.quick else 24
    clips = token_clips(steps * config.batch_clips)
    tagger = TaggerConfig(
        system="token-bert",
        vocab_sizes=clips.vocab_sizes,
        longest=int(clips.lengths_C.max()),
        options=options,
        id2label={label: str(label) for label in range(LABELS)},
    )
    order_C = epoch_order(len(clips), 0, 0)
    batches = [clips.batch(part) for part in order_C.reshape(steps, -1)]
    folders = (report.folder / f"run-{number}" for number in count())
    with processes() as accelerator:

        def ours() -> None:
            fit(
                build(tagger),
                clips,
                None,
                config=config,
                seed=0,
                order=Order(epoch=epoch_order, part=rank_batch),
                accelerator=accelerator,
                checkpoints=Checkpoints(folder=next(folders), publish=published_file),
            )

        contenders = {
            "engine.loop": ours,
            "transformers' Trainer": lambda: _trainer(build(tagger), clips, config, str(next(folders))),
            BARE: lambda: _bare(build(tagger), batches, config),
            "part: batches": lambda: [clips.batch(part) for part in order_C.reshape(steps, -1)],
        }
        race = report.race("token-bert", contenders, work=steps, unit="steps", rounds=5, round_s=0)
    report.bar("our step over a bare loop's", race.over(BARE), at_most=1.05)
    report.bar("speed over transformers' Trainer", race.speedup("transformers' Trainer"), at_least=1)
    report.bar("share of a step that is batch assembly", race.ratio("part: batches", "engine.loop"), at_most=0.03)


def _bare(model: Tagger, batches: list[Batch], config: TrainConfig) -> None:
    """What one writes in ten lines."""
    optimizer = adamw(model, config)
    model.train()
    for batch in batches:
        logits_BL = model(batch.input, batch.lengths_B)
        loss = model.losses(logits_BL, batch.targets_BL).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()


def _trainer(model: Tagger, clips: TokenClips, config: TrainConfig, folder: str) -> None:
    from transformers import Trainer, TrainingArguments

    class WithLoss(torch.nn.Module):
        """What Trainer expects of a model: the loss with the logits."""

        def __init__(self) -> None:
            super().__init__()
            self.tagger = model

        def forward(
            self, ids_BTQ: torch.Tensor, lengths_B: torch.Tensor, targets_BL: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            logits_BL = self.tagger(ids_BTQ, lengths_B)
            return {"loss": self.tagger.losses(logits_BL, targets_BL).mean(), "logits": logits_BL}

    def collate(chosen: list[int]) -> dict[str, torch.Tensor]:
        return dict(zip(("ids_BTQ", "lengths_B", "targets_BL"), clips.batch(np.array(chosen)), strict=True))

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
    Trainer(model=WithLoss(), args=arguments, train_dataset=numbers, data_collator=collate).train()  # type: ignore[arg-type]
