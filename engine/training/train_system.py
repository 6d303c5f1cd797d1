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
from accelerate import Accelerator

from audio_tokens.engine.clips.token_clips import Clips, TokenClips
from audio_tokens.engine.scores.metrics import Scores
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from audio_tokens.engine.systems.token_bag import TokenBag
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.checkpoints import Checkpoints, Publish
from audio_tokens.engine.training.loop import Order, Progress, evaluate, fit
from audio_tokens.engine.training.losses import loss_of
from audio_tokens.engine.training.objectives import Tagging
from audio_tokens.engine.training.pretraining import start_from
from audio_tokens.seeds import generator

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained model, the rows of its epochs, the best one of them (0 for a system without any), and its seconds.

    `validation` holds its figures on the validation clips; None where there were none.
    """

    model: Tagger
    rows: Rows
    best_epoch: int
    seconds: float
    validation: Scores | None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a system is, how it trains, and where its checkpoints go (`folder`, made atomic by `publish`).

    `vectors` are what embeddings begin with, a table per stream (see Tagger.initialise); `initial` is the `model/`
    folder of a trained or pre-trained system to start from.
    """

    system: TaggerConfig
    train: TrainConfig
    seed: int
    order: Callable[[Clips], Order]
    accelerator: Accelerator
    folder: Path
    publish: Publish
    stopping: Callable[[], bool] = lambda: False
    vectors: Sequence[np.ndarray] = ()
    initial: Path | None = None

    def choose(self, clips: Clips, validation: Clips, on_epoch: Callable[[Progress], None]) -> Fitted:
        """Train on `clips` and return the model of the epoch with the highest validation mAP."""
        return self._fit("choose", clips, validation, None, on_epoch)

    def refit(self, clips: Clips, chosen: Fitted, on_epoch: Callable[[Progress], None]) -> Fitted:
        """Train afresh on all `clips`, for as many epochs as were chosen, with nothing left to choose."""
        return self._fit("refit", clips, None, chosen.best_epoch or None, on_epoch)

    def _fit(
        self,
        phase: str,
        clips: Clips,
        validation: Clips | None,
        stop_after: int | None,
        on_epoch: Callable[[Progress], None],
    ) -> Fitted:
        with torch.random.fork_rng():
            torch.manual_seed(int(generator(self.seed, "weights").integers(2**63)))
            model = build(self.system)
            if self.initial is None:
                model.initialise(self.vectors)
            else:
                start_from(model, self.initial)
            model = model.to(self.accelerator.device)
        if isinstance(model, TokenBag):
            assert isinstance(clips, TokenClips)
            fitted = _solve(model, clips)
        else:
            progress = fit(
                model,
                clips,
                validation,
                config=self.train,
                objective=self._objective(clips),
                seed=self.seed,
                order=self.order(clips),
                accelerator=self.accelerator,
                checkpoints=Checkpoints(folder=self.folder / phase, publish=self.publish),
                stop_after=stop_after,
                stopping=self.stopping,
                on_epoch=on_epoch,
            )
            fitted = Fitted(
                model=model,
                rows=progress.rows,
                best_epoch=progress.best_epoch,
                seconds=sum(row["seconds"] for row in progress.rows),
                validation=None,
            )
        if validation is None:
            return fitted
        scores, _ = evaluate(fitted.model, validation, self.accelerator, self.train.score_views)
        return replace(fitted, validation=scores)

    def _objective(self, clips: Clips) -> Tagging:
        positives_L = torch.from_numpy(clips.labels.counts())
        return Tagging(
            config=self.train,
            loss=loss_of(self.train, positives_L, self.system.single_label),
            mask_ids=tuple(
                size + TokenEmbedding.MASK for size in self.system.vocab_sizes for _ in range(self.system.alternatives)
            ),
        )


def _solve(model: TokenBag, clips: TokenClips) -> Fitted:
    """Solve token-bag on all versions of the clips; each process for itself, since the solution takes no draws."""
    start, versions, every = time.perf_counter(), clips.versions(), np.arange(len(clips))
    model.solve(
        clips.ids_PQ,
        np.concatenate([version.starts_C for version in versions]),
        np.concatenate([version.lengths_C for version in versions]),
        np.concatenate([version.labels.targets(every) for version in versions]),
        versions=len(versions),
    )
    return Fitted(model=model, rows=[], best_epoch=0, seconds=time.perf_counter() - start, validation=None)
