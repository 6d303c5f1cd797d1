"""train: tokens or mel shards become a run. Alone, or with `accelerate launch` on many processes.

Data with splits: trained on `train`, chosen on `val`, tested once on `test`. Data with folds: the tested fold is left
out, choices are made on an inner split of the others (grouped by source recording), and the system is then trained
afresh on all of them with the choice frozen.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_tokens.engine.ranges import Natural, check
from audio_tokens.engine.systems.registry import find
from audio_tokens.engine.train_config import TagConfig, TrainConfig, model_options, training_of
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.training_recipe import TrainingRecipe, must_read, trainable

if TYPE_CHECKING:
    from audio_tokens.engine.training.train_system import Trial
    from audio_tokens.jobs.artefacts.run_folder import RunFolder
    from audio_tokens.jobs.inputs.clip_choice import ClipSubset
    from audio_tokens.jobs.inputs.training_data import TrainingData


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one system on tokens, on mel shards or on both; the same command resumes a run that was interrupted.

    Args:
        system: the system's name, e.g. token-bert; with it, --help lists that system's options
        out: the folder of the run
        tokens: tokens.zarr, for a token system
        shards: the folder of the mel shards, for a raw system; a hybrid one reads both
        codebook: the tokens' codebook, for embeddings that begin with it (--options.embedding centroids, or spectra)
        recipe: a packaged recipe's name or a YAML file; of its parts, `train` and `systems` are read
        classes: only these, and the clips that have one: names, MIDs, below:Animal, top:50; separated by `;`
        subset: only these of the clips that are learnt from: a ratio, a number, a file of keys, or a union with `+`
        options: the system's, e.g. --options.epochs 5 --options.width 64; the recipe's where none are given
        init: a run of `pretrain` or `train` to start from (--options.layer_decay 0.7 keeps its lower layers near)
        allow_leak: go on where the run of --init has learnt from clips that are tested; recorded as a leak
        seed: of weights, order and dropout
        test_fold: the fold that is tested, once; needed where the data has folds
        tracker: where curves go beside metrics.csv: one of accelerate's trackers, tensorboard or wandb say
        force: replace a run that was made otherwise
    """

    system: str
    out: str
    tokens: str | None = None
    shards: str | None = None
    codebook: str | None = None
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    classes: str | None = None
    subset: str | None = None
    options: TagConfig | None = None
    init: str | None = None
    allow_leak: bool = False
    seed: Natural = 0
    test_fold: int | None = None
    tracker: str = "tensorboard"
    force: bool = False

    def __post_init__(self) -> None:
        check(self)
        must_read(self.system, self.tokens, self.shards)


def train(request: Train) -> None:
    """Train, choose and test; nothing is done where the run is complete already. SIGTERM saves and exits with 143."""
    from audio_tokens.jobs.inputs.places import fitted_places, stored, tested_place

    places = stored(request.tokens, request.shards)  # a mistake here is told before torch is imported
    learnt_from = fitted_places(places, request.test_fold)
    tested_place(places, request.test_fold)

    from audio_tokens.engine.training.train_system import Trial
    from audio_tokens.jobs.artefacts.open_run import open_run
    from audio_tokens.jobs.inputs.clip_choice import ClipSubset, with_classes
    from audio_tokens.jobs.inputs.learnable import problems, refuse
    from audio_tokens.jobs.inputs.training_data import open_for, see_labels, vectors_of

    options = request.options or trainable(request.system).by(request.recipe)
    own, config = model_options(options), training_of(options)
    data = open_for(request.system, request.tokens, request.shards, soft=config.soft)
    embedding = "drawn" if request.init is not None else own.get("embedding", "drawn")  # a run brings its own
    vectors = vectors_of(data, request.codebook, embedding)
    if request.classes is not None:
        data = with_classes(data, request.classes, learnt_from)
    refuse(str(request.tokens or request.shards), problems(data.occurring(), data.single_label, data.places))
    see_labels(data.labels)
    subset = None if request.subset is None else ClipSubset(request.subset, request.seed)
    settings, facts = _settings(request, config, own, data, subset)
    epochs = not find(request.system).solved
    with open_run("train", request, settings, facts, config, epochs=epochs) as opened:
        if opened is None:
            return
        folder, context = opened
        context.say(f"{request.system} on {request.tokens or request.shards} -> {request.out}")
        initial = Path(request.init) / "model" if request.init is not None else None
        trial = Trial(system=data.tagger(request.system, own), context=context, vectors=vectors, initial=initial)
        result = _run(request, data, subset, trial, folder, settings.get("leak"))
        context.say(f"{request.out}: mAP {result['mAP']:.3f} on {result['eval_place']} ({result['seconds']:.0f} s)")


def _settings(
    request: Train, config: TrainConfig, own: dict[str, Any], data: "TrainingData", subset: "ClipSubset | None"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what makes the run the one it is, leaks among it, and what else is to be known of it.

    Raises UserError where the run of --init has learnt from what is tested, unless --allow-leak permits it.
    """
    from audio_tokens.jobs.artefacts.fingerprints import digest
    from audio_tokens.jobs.artefacts.run_folder import RunFolder
    from audio_tokens.jobs.inputs.places import fitted_places, tested_place

    settings = {
        "system": request.system,
        "seed": request.seed,
        "test_fold": request.test_fold,
        "train": asdict(config),
        "options": own,
        "data": data.hash,
    }
    learnt_from, tested = fitted_places(data, request.test_fold), tested_place(data, request.test_fold)
    leaks = []
    if tested in data.fitted_on:
        leaks.append("all-folds")
        print(f"train: warning: the codebook has seen {tested}, which is tested", file=sys.stderr)
    if request.init is not None:
        initial = RunFolder(Path(request.init)).settings()
        settings["init"] = initial["fingerprint"]
        if data.vocab_sizes and initial.get("tokens") and initial.get("made_by", data.made_by) != data.made_by:
            raise UserError(
                f"{request.init} has learnt tokens of another codebook, where a number stands for another sound; "
                f"encode by its codebook, or start from a run on {request.tokens}"
            )
        if (theirs := initial.get("learnt_from")) is None:
            raise UserError(f"{request.init} does not say what it has learnt from; train it again")
        learnt_from += tuple(place for place in theirs if place not in learnt_from)
        if tested in theirs:
            what = f"{request.init} has learnt from {tested}, which is tested"
            if not request.allow_leak:
                raise UserError(f"{what}; start from a run that has not, or --allow-leak goes on and records it")
            leaks.append("init")
            print(f"train: warning: {what}", file=sys.stderr)
    if leaks:
        settings["leak"] = ", ".join(leaks)
    settings |= {name: value for name in ("classes", "subset") if (value := getattr(request, name)) is not None}
    if subset is not None and subset.named:
        settings["subset_keys"] = digest(sorted(subset.named))  # what the files say, which may change under their names
    facts = {"tokens": request.tokens, "shards": request.shards, "made_by": data.made_by}
    return settings, facts | {"learnt_from": list(learnt_from)}


def _run(
    request: Train,
    data: "TrainingData",
    subset: "ClipSubset | None",
    trial: "Trial",
    folder: "RunFolder",
    leak: str | None,
) -> dict[str, Any]:
    """Choose, refit where the choice was made on a part of what may be learnt from, test once, and commit."""
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.engine.training.evaluation import predict
    from audio_tokens.jobs.artefacts.model_card import model_card
    from audio_tokens.jobs.artefacts.run_folder import Predictions, figures_of
    from audio_tokens.jobs.inputs.model_parts import parts_of_model
    from audio_tokens.jobs.inputs.training_data import parts_of

    config, accelerator = trial.context.config, trial.context.accelerator
    parts = parts_of(data, request.test_fold, config.inner_share, request.seed, subset)
    trained = chosen = trial.choose(parts.train, parts.validation)
    clips = parts.train
    if parts.refit is not None:
        trained, clips = trial.refit(parts.refit, chosen.best_epoch or None), parts.refit
    scores_CL, _ = predict(trained.model, parts.test, accelerator, config.score_views)
    targets_CL = parts.test.labels.table()
    tested = score(scores_CL, targets_CL)
    assert chosen.validation is not None
    result = {
        "system": request.system,
        "seed": request.seed,
        "test_fold": request.test_fold,
        "clips_train": len(clips),
        "clips_eval": tested.clips,
        **figures_of(tested),
        "peak_val_mAP": chosen.validation.mAP,
        "parameters": trained.model.trainable_parameters,
        "seconds": chosen.seconds + (trained.seconds if parts.refit is not None else 0.0),
        "eval_place": parts.places[1],
        "chosen_on": parts.places[0] if chosen.best_epoch else None,  # where the epoch was chosen, if there are any
        "leak": leak,
    }
    if accelerator.is_main_process:
        folder.write_classes(data.labels, dict(zip(parts.places, (chosen.validation, tested), strict=True)))
        predictions = Predictions(
            keys=list(parts.test.keys),
            groups=list(parts.test_groups),
            labels=list(data.labels),
            scores_CL=scores_CL,
            targets_CL=targets_CL,
        )
        folder.write_predictions(predictions)
        sound = parts_of_model(data, request.tokens, request.shards, request.codebook)
        card = model_card(result, folder.settings(), predictions, data.single_label, sound)
        folder.write_model(trained.model, sound, card)
        folder.finish(result)
    accelerator.wait_for_everyone()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    return command(Train, train, argv, options=trainable)


if __name__ == "__main__":
    sys.exit(main())
