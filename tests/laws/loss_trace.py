"""Run by test_processes, alone or under a launcher: train, and leave this process's share of every step's loss.

python loss_trace.py TOKENS OUT STEPS OPTIONS-AS-JSON
"""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.options import TokenBertOptions
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.train_config import model_options
from audio_tokens.engine.training.loop import train_by_steps
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
from audio_tokens.engine.training.run_context import Interrupted, RunContext
from audio_tokens.engine.world import processes
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.jobs.inputs.training_data import open_data
from audio_tokens.shards.publish import published_file


@dataclass(frozen=True, kw_only=True)
class Traced(Tagging):
    """Notes what every step adds up on this process, and of how many clips."""

    steps: list[tuple[float, int]]

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        loss = super().loss_sum(model, batch)
        self.steps.append((loss.item(), len(batch.lengths_B)))
        return loss


def main(tokens: str, out: str, steps: str, options: str) -> None:
    config = TokenBertOptions(**({"width": 16, "heads": 2, "dropout": 0.0} | json.loads(options)))
    data = open_data(tokens, None)
    clips, _ = data.read(("train",))
    trace: list[tuple[float, int]] = []
    with processes() as accelerator, torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(
            TaggerConfig(
                system="token-bert",
                vocab_sizes=data.vocab_sizes,
                longest=data.longest,
                options=model_options(config),
                id2label=dict(enumerate(data.labels)),
            )
        )
        loss = loss_of(config, torch.from_numpy(clips.labels.counts()), data.single_label)
        context = RunContext(
            config=config,
            seed=4,
            order=partial(order_of, config),
            accelerator=accelerator,
            folder=Path(out),
            publish=published_file,
            stopping=lambda: len(trace) >= int(steps),
        )
        with suppress(Interrupted):
            objective = Traced(config=config, loss=loss, mask_ids=(), steps=trace)
            train_by_steps(model, clips, None, objective, context, "choose")
        (Path(out) / f"trace-{accelerator.process_index}.json").write_text(json.dumps(trace))


if __name__ == "__main__":
    main(*sys.argv[1:])
