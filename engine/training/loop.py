"""The training loop: steps over clips, an evaluation an epoch, checkpoints to go on from as if it had never stopped.

Axes: C clips, B batch.

Everything that a step depends on is a function of (seed, step): the clips it sees, its rate, its dropout. So a restored
state (weights, moments, counters) continues exactly, in mid-epoch too, and on another number of processes sees the same
clips in the same order.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.evaluation import evaluate
from audio_tokens.engine.training.gradient_report import GradientReport
from audio_tokens.engine.training.objectives import Objective
from audio_tokens.engine.training.optimizer import adamw, rate
from audio_tokens.engine.training.run_context import Interrupted, Progress, RunContext
from audio_tokens.engine.training.weight_average import Average
from audio_tokens.engine.world import precision_of, unwrapped
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator


def train_by_steps(
    model: Tagger,
    clips: Clips,
    validation: Clips | None,
    objective: Objective,
    context: RunContext,
    phase: str,
    stop_after: int | None = None,
) -> Progress:
    """Train `model` in place and return its progress; on return it holds the best epoch's weights.

    The best epoch is that of the highest validation mAP; without `validation` it is the last one. `stop_after` ends the
    training after so many epochs of the `config.epochs` that the schedule is made for. Once `context.stopping` says yes
    on any process, the state is saved and Interrupted raised. Raises UserError where a loss is not finite, naming the
    clips of the batch.
    """
    training = _Training(model, clips, objective, context, phase)
    config, accelerator = context.config, context.accelerator
    progress, last_epoch = training.progress, stop_after or config.epochs
    if progress.step and len(progress.rows) < last_epoch:
        context.say(f"{phase}: resuming at epoch {len(progress.rows) + 1}, step {progress.step + 1}")
    with torch.random.fork_rng():
        while (epoch := len(progress.rows) + 1) <= last_epoch and (validation is None or _patient(progress, config)):
            row = training.epoch()
            improved = epoch == last_epoch
            with training.scored_weights():
                if validation is not None:
                    figures, row["val_loss"] = evaluate(training.wrapped, validation, accelerator, config.score_views)
                    row |= {"val_mAP": figures.mAP, "val_mAUC": figures.mAUC, "val_accuracy": figures.accuracy}
                    improved = figures.mAP > progress.best
                if improved:
                    progress.best, progress.best_epoch = row.get("val_mAP", -math.inf), epoch
                progress.rows.append(row)
                if improved:
                    training.save("best", to_resume=False)
            if accelerator.is_main_process:
                # before the state: killed in between, the epoch is done and told again
                context.on_epoch(phase, progress, last_epoch)
            training.save("last")
    if accelerator.is_main_process:
        context.on_end(phase, progress)
    accelerator.wait_for_everyone()
    training.checkpoints.load("best", training.model)
    return progress


class _Training:
    """What the steps of one training share; restored from its last checkpoint where there is one."""

    def __init__(self, model: Tagger, clips: Clips, objective: Objective, context: RunContext, phase: str) -> None:
        config, accelerator = context.config, context.accelerator
        self.clips = where_they_train(clips, accelerator.device)
        self.config, self.accelerator, self.objective, self.seed = config, accelerator, objective, context.seed
        self.order, self.checkpoints, self.stopping = context.order(clips), context.checkpoints(phase), context.stopping
        self.phase, self.watched = phase, context.watched
        self.wrapped, prepared = accelerator.prepare(model, adamw(model, config))
        # the optimizer itself: its wrapper searches the disk for a package at every step, and has no more to add here
        self.model, self.optimizer = unwrapped(self.wrapped), prepared.optimizer
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.epoch_steps = math.ceil(len(clips) / config.batch_clips)
        steps = config.epochs * self.epoch_steps
        self.average = Average(self.model, config.average, steps) if config.average != "none" else None
        self.progress = Progress(**(self.checkpoints.load("last", self.model, self.optimizer, self.average) or {}))
        self.bf16 = precision_of(config.precision, self.model.bf16_on_cpu) == "bf16"

    def scored_weights(self) -> AbstractContextManager[None]:
        """Let the model have the weights that are scored and kept while the context lasts."""
        return self.average.swapped_in() if self.average is not None else nullcontext()

    def save(self, name: str, to_resume: bool = True) -> None:
        """Write a checkpoint, from the main process, of a state that all processes have reached."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            extra = (self.optimizer, self.average) if to_resume else ()
            self.checkpoints.save(name, self.model, asdict(self.progress), *extra)

    def epoch(self) -> dict[str, Any]:
        """Take the steps left in the epoch under way and return its row."""
        progress, config, accelerator = self.progress, self.config, self.accelerator
        order_C = self.order.epoch(len(self.clips), self.seed, len(progress.rows))
        clips = met_in(self.clips, self.seed, len(progress.rows))
        world, rank = accelerator.num_processes, accelerator.process_index
        first = progress.step - len(progress.rows) * self.epoch_steps
        parts = [
            self.order.part(order_C, index, config.batch_clips, rank, world) for index in range(first, self.epoch_steps)
        ]
        # a rank without a share of the last batch still takes part in the step, with a clip that weighs nothing
        batches = clips.batches(part if len(part) else order_C[:1] for part in parts)
        self.wrapped.train()
        start = time.perf_counter()
        title = f"{self.phase} epoch {len(progress.rows) + 1}"
        for part, batch in self.watched(zip(parts, batches, strict=True), title, first, self.epoch_steps):
            stop = self.step(batch, part)
            now = time.perf_counter()
            progress.seconds, start = progress.seconds + now - start, now
            if stop or (config.checkpoint_steps and progress.step % config.checkpoint_steps == 0):
                self.save("last")
            if stop:
                raise Interrupted(f"stopped at step {progress.step}; the same command resumes")
        row = {
            "epoch": len(progress.rows) + 1,
            "step": progress.step,
            "world": world,
            "clips": progress.clips,
            "seconds": progress.seconds,
            "learning_rate": config.learning_rate * rate(progress.step - 1, config, self.epoch_steps),
            "train_loss": progress.loss_sum / progress.weight,
        }
        progress.loss_sum, progress.weight, progress.clips, progress.seconds = 0.0, 0.0, 0, 0.0
        return row

    def step(self, batch: Batch, part: Int64[np.ndarray, "b"]) -> bool:
        """Step on this process's `part` of a batch; return whether any process wants to stop."""
        progress, config, accelerator = self.progress, self.config, self.accelerator
        draws = generator(self.seed, "step", progress.step, accelerator.process_index)
        _seed(int(draws.integers(2**63)), accelerator.device)  # dropout has no other source
        share = rate(progress.step, config, self.epoch_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * group["share"] * share
        batch, weight = self.objective.prepare(batch, draws)
        real = float(len(part) > 0)
        weight, clips = self._total(weight * real, len(part))
        loss_sum = self._gradients(batch, real, weight)
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        looked_at = (progress.step + 1) % self.epoch_steps == 0
        # what is read back from an accelerator waits for all it was given to do: once a step
        loss, length, stops = self._total(*torch.stack([loss_sum, norm]).tolist(), float(self.stopping()))
        report = GradientReport(self.model) if looked_at or not math.isfinite(length) else None
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise UserError(self._not_finite(loss, report))
        if config.clip_norm:
            nn.utils.clip_grads_with_norm_(self.parameters, config.clip_norm, norm)
        self.optimizer.step()
        progress.step += 1
        if report is not None:
            progress.gradients += report.rows(len(progress.rows) + 1)
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(progress.step)
        progress.loss_sum += loss
        progress.weight += weight
        progress.clips += round(clips)
        return stops > 0

    def _gradients(self, batch: Batch, real: float, weight: float) -> Tensor:
        """Add up the gradients of a prepared batch, piece by piece, and return its summed loss.

        Where it is not `real`, a clip that stands in for no share of the batch, both are zero. The gradients are those
        of the sum over all processes, divided by the `weight` of the whole batch.
        """
        device = self.accelerator.device
        pieces = batch.pieces(self.config.micro_clips) if self.config.micro_clips else [batch]
        loss_sum = torch.zeros((), device=device)
        for index, piece in enumerate(pieces):
            piece = piece.to(device)
            with nullcontext() if index + 1 == len(pieces) else self.accelerator.no_sync(self.wrapped):
                with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                    loss = self.objective.loss_sum(self.wrapped, piece) * real
                # nothing is scaled against float16's underflow here, and DDP takes the mean over processes
                (loss * (self.accelerator.num_processes / weight)).backward()
            loss_sum += loss.detach()
        return loss_sum

    def _not_finite(self, loss: float, report: GradientReport | None) -> str:
        """Say what is not finite, a gradient in which layers, and on which clips, those of all processes."""
        progress, config = self.progress, self.config
        what = f"the loss is {loss}"
        if math.isfinite(loss) and report is not None:
            what = f"the gradient is not finite in {', '.join(report.lost()) or 'its length'}"
        order_C = self.order.epoch(len(self.clips), self.seed, len(progress.rows))
        index = progress.step - len(progress.rows) * self.epoch_steps
        names = ", ".join(
            self.clips.keys[c] for c in self.order.part(order_C, index, config.batch_clips, 0, 1).tolist()
        )
        return f"{what} at step {progress.step}; clips of the batch: {names}"

    def _total(self, *values: float) -> list[float]:
        """Return the sums of `values` over all processes."""
        if self.accelerator.num_processes == 1:
            return list(values)
        here = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        return self.accelerator.reduce(here, "sum").tolist()


def met_in(clips: Clips, seed: int, epoch: int) -> Clips:
    """Return the clips in the versions that epoch `epoch` meets, each in one of its views or as it is."""
    return clips.drawn(generator(seed, "views", epoch))


def _seed(value: int, device: torch.device) -> None:
    """Seed torch where it draws; its own manual_seed takes 0.5 ms for kinds of devices that are not there."""
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.manual_seed(value)


def _patient(progress: Progress, config: TrainConfig) -> bool:
    return not config.patience or len(progress.rows) - progress.best_epoch < config.patience
