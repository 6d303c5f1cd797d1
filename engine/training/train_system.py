"""One system trained once: choices made on held-out clips, then, where those belong to the training data, a refit.

A system that is solved at once (token-bag) and one that is trained by steps look the same from here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.scores.metrics import Scores
from audio_tokens.engine.systems.registry import build, find
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from audio_tokens.engine.training.evaluation import evaluate
from audio_tokens.engine.training.loop import train_by_steps
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
from audio_tokens.engine.training.run_context import RunContext
from audio_tokens.seeds import generator


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model, the rows of its epochs, the best one of them (0 for a system without any), and its seconds.

    `validation` holds its figures on the validation clips; None where there were none.
    """

    model: Tagger
    rows: list[dict[str, Any]]
    best_epoch: int
    seconds: float
    validation: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a system is, and the run that trains it.

    `vectors` are what embeddings begin with, a table per stream (see Tagger.initialise); `initial` is the `model/`
    folder of a trained or pre-trained system to start from.
    """

    system: TaggerConfig
    context: RunContext
    vectors: Sequence[np.ndarray] = ()
    initial: Path | None = None

    def choose(self, clips: Clips, validation: Clips) -> Trained:
        """Train on `clips` and return the model of the epoch with the highest validation mAP."""
        return self._train("choose", clips, validation, None)

    def refit(self, clips: Clips, epochs: int | None = None) -> Trained:
        """Train afresh on all `clips`, for the `epochs` that were chosen or to the last one, with nothing to choose."""
        return self._train("refit", clips, None, epochs)

    def _train(self, phase: str, clips: Clips, validation: Clips | None, stop_after: int | None) -> Trained:
        model = fresh(self.system, self.context, self.vectors, self.initial)

        def say(line: str) -> None:
            self.context.say(f"{phase}: {line}")

        if find(self.system.system).solved:
            trained = _solve(model, clips, say)
        else:
            bag = getattr(model, "bag", None)
            if bag is not None and not self.context.checkpoints(phase).begun:
                bag.solve(clips, say)
            progress = train_by_steps(model, clips, validation, self._objective(clips), self.context, phase, stop_after)
            seconds = sum(row["seconds"] for row in progress.rows)
            trained = Trained(model=model, rows=progress.rows, best_epoch=progress.best_epoch, seconds=seconds)
        if validation is None:
            return trained
        scores, _ = evaluate(model, validation, self.context.accelerator, self.context.config.score_views)
        return replace(trained, validation=scores)

    def _objective(self, clips: Clips) -> Tagging:
        positives_L = torch.from_numpy(clips.labels.counts())
        return Tagging(
            config=self.context.config,
            loss=loss_of(self.context.config, positives_L, self.system.single_label),
            mask_ids=tuple(
                size + TokenEmbedding.MASK for size in self.system.vocab_sizes for _ in range(self.system.alternatives)
            ),
        )


def fresh(
    system: TaggerConfig,
    context: RunContext,
    vectors: Sequence[np.ndarray] = (),
    initial: Path | None = None,
    make: Callable[[TaggerConfig], Tagger] = build,
) -> Tagger:
    """Return a model that `make` builds, on its device, its weights drawn by the run's seed or begun from `initial`."""
    with torch.random.fork_rng():
        torch.manual_seed(int(generator(context.seed, "weights").integers(2**63)))
        model = make(system)
        if initial is None:
            model.initialise(vectors)
        else:
            from audio_tokens.engine.training.pretraining import start_from  # which knows BERT, 10 s of imports

            start_from(model, initial)
        return model.to(context.accelerator.device)


def _solve(model: Tagger, clips: Clips, say: Callable[[str], None]) -> Trained:
    """Solve a system on all versions of the clips; each process for itself, since the solution takes no draws."""
    start = time.perf_counter()
    model.solve(clips, say)
    return Trained(model=model, rows=[], best_epoch=0, seconds=time.perf_counter() - start)
