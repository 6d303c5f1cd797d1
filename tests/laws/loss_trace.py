"""Run by test_processes, alone or under a launcher: train, and leave this process's share of every step's loss.

python loss_trace.py TOKENS OUT STEPS OPTIONS-AS-JSON
"""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.checkpoints import Checkpoints
from engine.clips import Batch
from engine.loop import Interrupted, fit
from engine.losses import loss_of
from engine.objectives import Tagging
from engine.processes import processes
from engine.systems import build, resolve
from engine.systems.tagger import TaggerConfig
from jobs.order import order_of
from jobs.training_data import open_data
from shards.publish import published_file


@dataclass(frozen=True, kw_only=True)
class Traced(Tagging):
    """Notes what every step adds up on this process, and of how many clips."""

    steps: list[tuple[float, int]]

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        loss = super().loss_sum(model, batch)
        self.steps.append((loss.item(), len(batch.lengths_B)))
        return loss


def main(tokens: str, out: str, steps: str, options: str) -> None:
    config, own = resolve("token-bert", {}, {"width": 16, "heads": 2, "dropout": 0.0} | json.loads(options))
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
                options=own,
                id2label=dict(enumerate(data.labels)),
            )
        )
        loss = loss_of(config, torch.from_numpy(clips.labels.counts()), data.single_label)
        with suppress(Interrupted):
            fit(
                model,
                clips,
                None,
                config=config,
                objective=Traced(config=config, loss=loss, mask_ids=(), steps=trace),
                seed=4,
                order=order_of(config, clips),
                accelerator=accelerator,
                checkpoints=Checkpoints(folder=Path(out), publish=published_file),
                stopping=lambda: len(trace) >= int(steps),
            )
        (Path(out) / f"trace-{accelerator.process_index}.json").write_text(json.dumps(trace))


if __name__ == "__main__":
    main(*sys.argv[1:])
