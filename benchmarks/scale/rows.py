"""What is measured at size: each row makes ready, and returns the action whose seconds and memory count.

An action returns what there is to say of it. C clips, L labels.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.scores.bootstrap import replicates
from audio_tokens.engine.scores.metrics import score
from audio_tokens.engine.systems.logistic_in_blocks import logistic_regression_in_blocks
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.jobs.inputs.training_data import open_data
from audio_tokens.seeds import generator
from audio_tokens.shards.plan import rank_batch
from audio_tokens.shards.tasks.commit import commit
from benchmarks.scale.stores import LABELS, VOCABULARY, token_store, unfinished_build

BATCH_CLIPS, BATCHES = 64, 1_000
EVALUATED, REPLICATES = 20_000, 1_000
Action = Callable[[], str]


def make_tokens(folder: Path, clips: int) -> Action:
    def make() -> str:
        store = token_store(folder, clips)
        return f"{sum(path.stat().st_size for path in store.rglob('*') if path.is_file()) / 1e9:.2f} GB"

    return make


def commit_build(folder: Path, clips: int) -> Action:
    build, tasks = unfinished_build(folder, clips)

    def publish() -> str:
        assert commit(build, range(tasks))
        return f"{tasks:,} shards"

    return publish


def open_tokens(folder: Path, clips: int) -> Action:
    return lambda: f"{len(_tokens(folder)):,} training clips"


def open_shards(folder: Path, clips: int) -> Action:
    return lambda: f"{len(_mel(folder)):,} training clips"


def epoch_of_tokens(folder: Path, clips: int) -> Action:
    opened = _tokens(folder)
    return lambda: f"{len(_epoch(opened)):,} clips"


def epoch_by_weight(folder: Path, clips: int) -> Action:
    opened = _tokens(folder)
    return lambda: f"{len(_epoch(opened, sampling='weighted')):,} clips"


def epoch_of_mel(folder: Path, clips: int) -> Action:
    opened = _mel(folder)
    return lambda: f"{len(_epoch(opened)):,} clips, in windows"


def first_batch_of_tokens(folder: Path, clips: int) -> Action:
    return lambda: _batches(_tokens(folder), 1)


def first_batch_of_mel(folder: Path, clips: int) -> Action:
    return lambda: _batches(_mel(folder), 1)


def batches_of_tokens(folder: Path, clips: int) -> Action:
    opened = _tokens(folder)
    return lambda: _batches(opened, BATCHES)


def batches_of_mel(folder: Path, clips: int) -> Action:
    opened = _mel(folder)
    return lambda: _batches(opened, BATCHES)


def bag_by_blocks(folder: Path, clips: int) -> Action:
    """Token-bag's solver until it has told what it will take, by the seconds of a sample of clips."""
    opened = _tokens(folder)
    labels = {label: str(label) for label in range(LABELS)}
    model = TokenBag(TaggerConfig(system="token-bag", vocab_sizes=[VOCABULARY], options={"C": 100.0}, id2label=labels))

    def block(clips_B: np.ndarray) -> tuple[Tensor, Tensor]:
        batch = opened.batch(clips_B)
        return model.contents(batch.input, batch.lengths_B), batch.targets

    def told(line: str) -> None:
        raise _ToldError(line)

    def begin() -> str:
        try:
            with torch.no_grad():
                logistic_regression_in_blocks(block, np.arange(len(opened)), 100.0, False, told)
        except _ToldError as line:
            return str(line)
        raise AssertionError("the solver begins by telling what it will take")

    return begin


class _ToldError(Exception):
    """What was to be told was told."""


def evaluation(folder: Path, clips: int) -> Action:
    scores_CL, targets_CL = _scored(clips)
    return lambda: f"{scores_CL.shape[0]:,} x {LABELS}, mAP {score(scores_CL, targets_CL).mAP:.3f}"


def bootstrap(folder: Path, clips: int) -> Action:
    scores_CL, targets_CL = _scored(clips)
    return lambda: f"{len(replicates(scores_CL, targets_CL, count=REPLICATES)['mAP']):,} samples"


def described(name: str) -> Callable[[Path, int], Action]:
    return lambda folder, clips: lambda: _said(f"describe {folder / name}")


def verified(name: str) -> Callable[[Path, int], Action]:
    return lambda folder, clips: lambda: _said(f"verify {folder / name}")


ROWS: dict[str, Callable[[Path, int], Action]] = {
    "making the tokens (encode's commit)": make_tokens,
    "commit of a build": commit_build,
    "open tokens": open_tokens,
    "open shards": open_shards,
    "order of an epoch, tokens": epoch_of_tokens,
    "order of an epoch, by weight": epoch_by_weight,
    "order of an epoch, mel": epoch_of_mel,
    "open and first batch, tokens": first_batch_of_tokens,
    "open and first batch, mel": first_batch_of_mel,
    "1,000 batches of 64, tokens": batches_of_tokens,
    "1,000 batches of 64, mel": batches_of_mel,
    "token-bag by blocks, up to its estimate": bag_by_blocks,
    "evaluation": evaluation,
    "bootstrap": bootstrap,
    "describe tokens": described("tokens.zarr"),
    "describe shards": described("shards"),
    "verify tokens": verified("tokens.zarr"),
    "verify shards": verified("shards"),
}


def _tokens(folder: Path) -> Clips:
    return open_data(str(folder / "tokens.zarr"), None).read(("train",))[0]


def _mel(folder: Path) -> Clips:
    return open_data(None, str(folder / "shards")).read(("train",))[0]


def _epoch(clips: Clips, sampling: Literal["uniform", "weighted"] = "uniform") -> np.ndarray:
    return order_of(TrainConfig(sampling=sampling), clips).epoch(len(clips), 0, 0)


def _batches(clips: Clips, count: int) -> str:
    order_C = _epoch(clips)
    batches = min(count, len(clips) // BATCH_CLIPS)
    parts = (rank_batch(order_C, index, BATCH_CLIPS, 0, 1) for index in range(batches))
    made = sum(len(batch.lengths_B) for batch in islice(clips.batches(parts), batches))
    return f"{made:,} clips"


def _scored(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of a middling system and targets, three of the labels a clip."""
    rng = generator(0, "evaluation at scale")
    targets_CL = rng.random((min(EVALUATED, clips), LABELS)) < 3 / LABELS
    return (targets_CL + rng.normal(0, 0.5, targets_CL.shape)).astype(np.float32), targets_CL


def _said(words: str) -> str:
    with redirect_stdout(StringIO()) as said:
        assert cli.main(words.split()) == 0, said.getvalue()
    return f"{len(said.getvalue().splitlines())} lines"
