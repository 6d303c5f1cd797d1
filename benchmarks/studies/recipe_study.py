"""Which recipe of tokens says most about ESC-10? `python -m benchmarks.studies.recipe_study`, three seeds.

Everything is fitted on four folds and tested on the fifth: whitening, codebook, and logistic regression (C=100) on the
square root of a clip's token shares; all five folds. What is chosen, is chosen by the column `inner`: the accuracy of
leave-one-fold-out among the four training folds, whose sound (not labels) the codebook has then seen.

Writes benchmarks/results/recipes-esc10.md. C clips, K tokens of all streams, Q streams.
"""

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.quantizer import Quantizer
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.soft_tokens import several_nearest, shares
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.seeds import generator
from audio_tokens.shards.publish import publish_bytes
from benchmarks import machine

RESULT = Path(__file__).parents[1] / "results" / "recipes-esc10.md"
SEEDS = (0, 1, 2)
SEED_SLICES = SliceConfig(normalise="min-max", contexts=(1,), stride=1, whiten_variance=None)


class Codebooks(NamedTuple):
    """What is fitted together: streams that the recipes below pick from."""

    slices: SliceConfig
    clusters: tuple[int, ...]


class Recipe(NamedTuple):
    """A recipe: some streams of some codebooks, and how many of the nearest tokens share a position."""

    codebooks: str
    streams: tuple[int, ...]
    top: int = 1


CODEBOOKS = {
    "seed": Codebooks(SEED_SLICES, (500,)),
    "one frame": Codebooks(SliceConfig(contexts=(1,), stride=1), (500,)),
    "contexts": Codebooks(SliceConfig(contexts=(4, 16, 8, 4, 16)), (500, 200, 500, 500, 500)),
    "k=2000": Codebooks(SliceConfig(), (2000,)),
    "residual": Codebooks(SliceConfig(contexts=(4, 4), residual=True), (500, 500)),
}
RECIPES = {
    "an earlier project's (one frame, min-max, unwhitened)": Recipe("seed", (0,)),
    "one frame, whitened": Recipe("one frame", (0,)),
    "**default** (4 frames, whitened)": Recipe("contexts", (0,)),
    "8 frames": Recipe("contexts", (2,)),
    "16 frames": Recipe("contexts", (4,)),
    "4 frames, k=2000": Recipe("k=2000", (0,)),
    "4 frames, residual, 2 x 500": Recipe("residual", (0, 1)),
    "**two streams**, 4 + 16 frames (500 + 200)": Recipe("contexts", (0, 1)),
    "**soft**: 4 frames, top 4": Recipe("contexts", (0,), 4),
    "4 frames, top 8": Recipe("contexts", (0,), 8),
    "4 frames twice, top 4": Recipe("contexts", (0, 3), 4),
    "4 + 16 frames (500 + 200), top 4": Recipe("contexts", (0, 1), 4),
    "4 + 16 frames (500 + 500), top 4": Recipe("contexts", (0, 4), 4),
    "4 + 8 + 16 frames, top 4": Recipe("contexts", (0, 2, 4), 4),
    "4 + 8 + 16 + 4 + 16 frames, top 4": Recipe("contexts", (0, 1, 2, 3, 4), 4),
    "4 frames, k=2000, top 8": Recipe("k=2000", (0,), 8),
}


class Clips(NamedTuple):
    """ESC-10 as mel, with classes and folds."""

    mels: list[np.ndarray]
    class_C: np.ndarray
    fold_C: np.ndarray


class MemoryLanes:
    """Clips in memory, dealt out in blocks that are shuffled every epoch, as shards are."""

    lanes = 12

    def __init__(self, mels: Sequence[Any], seed: int, block_clips: int = 16) -> None:
        self._blocks = [list(mels[first : first + block_clips]) for first in range(0, len(mels), block_clips)]
        self._seed = seed

    def blocks(self, lane: int, epoch: int):
        if lane < self.lanes:
            for index in generator(self._seed, "blocks", epoch).permutation(len(self._blocks))[lane :: self.lanes]:
                yield self._blocks[index]


def read_esc10(folder: Path) -> Clips:
    front_end = FrontEnd(MEL_CONFIGS["mel22k"])
    with (folder / "meta" / "esc50.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["filename"])
    paths = [folder / "audio" / Path(row["filename"]).with_suffix(".ogg") for row in rows]
    mels = [front_end(path.read_bytes())[0].astype(np.float16) for path in paths]
    return Clips(mels, np.array([int(row["target"]) for row in rows]), np.array([int(row["fold"]) for row in rows]))


def token_shares(quantizer: Quantizer, mel_TF: np.ndarray, most: int) -> list[dict[int, np.ndarray]]:
    """Return per stream, for every number of alternatives that a recipe asks for, a clip's token shares."""
    found = []
    for step, stream in zip(quantizer.walk([quantizer.prepare(mel_TF)]), quantizer.streams, strict=True):
        clusters = len(stream.centroids_KD)
        ids_NM, cosines_NM = several_nearest(step.x_ND, stream.centroids_KD, step.ids_N, most)
        found.append(
            {
                top: np.bincount(
                    ids_NM[:, :top].ravel(), weights=shares(cosines_NM[:, :top]).ravel(), minlength=clusters
                )
                / len(ids_NM)
                for top in sorted({recipe.top for recipe in RECIPES.values()})
            }
        )
    return found


def accuracy(x_CK: np.ndarray, class_C: np.ndarray, train_C: np.ndarray, test_C: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=100, max_iter=2000).fit(x_CK[train_C], class_C[train_C])
    return float(model.score(x_CK[test_C], class_C[test_C]))


def study(clips: Clips, seeds: Sequence[int]) -> dict[str, dict[tuple[int, int], tuple[float, float]]]:
    """Return (test accuracy, inner accuracy) of every recipe, fold and seed."""
    results: dict[str, dict[tuple[int, int], tuple[float, float]]] = {name: {} for name in RECIPES}
    most = max(recipe.top for recipe in RECIPES.values())
    for seed in seeds:
        for fold in range(1, 6):
            outer_C = clips.fold_C != fold
            for name, (slices, clusters) in CODEBOOKS.items():
                lanes = MemoryLanes([clips.mels[index] for index in np.flatnonzero(outer_C)], seed)
                fit = CodebookFit(lanes, MEL_CONFIGS["mel22k"].to_dict(), slices, KMeansConfig(clusters=clusters), seed)
                *_, last = fit.checkpoints()
                quantizer = Quantizer(slices, "cosine", None, last.streams)
                parts = [token_shares(quantizer, mel_TF, most) for mel_TF in clips.mels]
                for recipe_name, recipe in RECIPES.items():
                    if recipe.codebooks != name:
                        continue
                    rows = [np.concatenate([clip[stream][recipe.top] for stream in recipe.streams]) for clip in parts]
                    x_CK = np.sqrt(np.stack(rows))
                    inner = [
                        accuracy(x_CK, clips.class_C, outer_C & (clips.fold_C != left), clips.fold_C == left)
                        for left in range(1, 6)
                        if left != fold
                    ]
                    outer = accuracy(x_CK, clips.class_C, outer_C, ~outer_C)
                    results[recipe_name][seed, fold] = (outer, float(np.mean(inner)))
            print(f"seed {seed}, fold {fold}: default {results['**default** (4 frames, whitened)'][seed, fold][0]:.3f}")
    return results


def table(results: dict[str, dict[tuple[int, int], tuple[float, float]]], seeds: Sequence[int]) -> str:
    """Return the results as a table in markdown, accuracies in percent, best inner accuracy first."""
    lines = ["| recipe | inner | test | by seed | by fold |", "|---|---|---|---|---|"]
    inner_of = {name: np.mean([inner for _, inner in cells.values()]) for name, cells in results.items()}
    for name in sorted(results, key=lambda name: -inner_of[name]):
        cells = results[name]
        by_seed = [100 * np.mean([cells[seed, fold][0] for fold in range(1, 6)]) for seed in seeds]
        by_fold = [100 * np.mean([cells[seed, fold][0] for seed in seeds]) for fold in range(1, 6)]
        columns = [" ".join(f"{value:.1f}" for value in values) for values in (by_seed, by_fold)]
        lines.append(f"| {name} | {100 * inner_of[name]:.1f} | {np.mean(by_seed):.1f} | {' | '.join(columns)} |")
    best = max(inner_of, key=lambda name: inner_of[name])
    lines.append(f"\nChosen on `inner`: {best}.")
    return "\n".join(lines)


def _made_on() -> str:
    found = machine.describe()
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{found['machine']['processor']}, one thread a run; {versions}; {found['date']}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("AUDIO_TOKENS_DATA"), help="holds esc10/")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    words = parser.parse_args()
    if words.data is None:
        parser.error("name the folder that holds esc10/ with --data or AUDIO_TOKENS_DATA")
    results = study(read_esc10(Path(words.data) / "esc10"), words.seeds)
    about = (__doc__ or "").split("\n\n")[1]
    text = f"# Recipes of tokens on ESC-10\n\n{about}\n\n{table(results, words.seeds)}\n\n{_made_on()}\n"
    publish_bytes(RESULT, text.encode())
    print(text)


if __name__ == "__main__":
    main()
