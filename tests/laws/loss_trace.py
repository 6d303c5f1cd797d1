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

from audio_tokens.engine.clips.token_clips import Batch
from audio_tokens.engine.systems.registry import build, resolve
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.training.checkpoints import Checkpoints
from audio_tokens.engine.training.loop import Interrupted, fit
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
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
