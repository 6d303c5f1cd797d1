"""A system on the tokens of a whole run's folds, trained to its last epoch: half of the time of `train`.

    python -m benchmarks.studies.last_epoch --work W --run sound-0 --system token-lstm

`train` holds clips out to choose the epoch, and trains afresh on all; here nothing is held out and nothing chosen. W is
the work folder of an `audio-tokens run --folds` with token-bag; its recipe is taken by the name in R. Predictions lie
beside it in W/R/fold-N/last-epoch; a fold that has some is not trained again. Printed are the lines of systems_table,
paired with the bag of the same tokens.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from audio_tokens.engine.train_config import model_options, training_of
from audio_tokens.jobs.artefacts.predictions import Predictions
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.command import parse
from audio_tokens.jobs.inputs.training_data import open_for, parts_of, vectors_of
from audio_tokens.jobs.train import Train
from audio_tokens.jobs.training_recipe import trainable
from audio_tokens.shards.publish import published_file
from benchmarks.studies.order import to_the_last_epoch
from benchmarks.studies.systems_table import BAG, Tested, rows


def predictions(fold: Path, system: str, recipe: str, seed: int) -> Predictions:
    """Train on all folds but this one, and return what is said of this one's clips."""
    folder = fold / "last-epoch" / system
    file = folder / "predictions.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tokens = str(fold / "tokens.zarr")
        said = ("--system", system, "--recipe", recipe, "--tokens", tokens, "--out", str(folder))
        options = trainable(system).by(parse(Train, said, prog="last_epoch", options=trainable).recipe)
        own, config = model_options(options), training_of(options)
        data = open_for(system, tokens, None, soft=config.soft)
        parts = parts_of(data, int(fold.name.removeprefix("fold-")), config.inner_share, seed)
        assert parts.refit is not None, "folds have no validation part"
        _, scores_CL = to_the_last_epoch(
            data.tagger(system, own),
            config,
            parts.refit,
            parts.test,
            seed,
            folder,
            vectors=vectors_of(data, str(fold / "codebook"), own.get("embedding", "drawn")),
            score_views=config.score_views,
        )
        tested = Predictions(
            keys=list(parts.test.keys),
            groups=list(parts.test_groups),
            labels=list(data.labels),
            scores_CL=scores_CL,
            targets_CL=parts.test.labels.table(),
        )
        with published_file(file) as path:
            tested.save(path)
    return Predictions.load(file)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="the work folder of the run")
    parser.add_argument("--run", required=True, help="its folder of a recipe and a seed, say sound-0")
    parser.add_argument("--system", required=True)
    words = parser.parse_args(argv)
    recipe, _, seed = words.run.rpartition("-")
    folds = sorted((words.work / words.run).glob("fold-*"))
    if not (recipe and seed.isdecimal() and folds):
        parser.error(f"{words.work / words.run} is no folder of a recipe, a seed and folds, like W/sound-0")
    found = {}
    for system in (BAG, words.system):
        tested = [
            RunFolder(fold / BAG).predictions() if system == BAG else predictions(fold, system, recipe, int(seed))
            for fold in folds
        ]
        found[recipe, system] = Tested({int(seed): tested})
    for row in rows(found):
        print(f"| {' | '.join(row)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
