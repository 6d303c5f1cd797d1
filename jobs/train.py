"""train: tokens or mel shards become a run. Alone, or with `accelerate launch` on many processes.

Data with splits: trained on `train`, chosen on `val`, tested once on `test`. Data with folds: the tested fold is left
out, choices are made on an inner split of the others (grouped by source recording), and the system is then trained
afresh on all of them with the choice frozen.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_tokens.jobs.artefacts.fingerprints import digest
from audio_tokens.jobs.command import command
from audio_tokens.jobs.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.engine.train_config import TrainConfig
    from audio_tokens.jobs.artefacts.run_folder import RunFolder
    from audio_tokens.jobs.inputs.training_data import TrainingData


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one system on tokens, on mel shards or on both; the same command resumes a run that was interrupted.

    Args:
        system: the system's name, e.g. token-bert
        out: the folder of the run
        tokens: tokens.zarr, for a token system
        shards: the folder of the mel shards, for a raw system; a hybrid one reads both
        codebook: the tokens' codebook, for embeddings that begin with it (--options.embedding centroids, or spectra)
        recipe: a packaged recipe's name or a YAML file
        classes: only these, and the clips that have one: names, MIDs, below:Animal, top:50; separated by `;`
        subset: only these of the clips that are learnt from: a ratio, a number, a file of keys, or a union with `+`
        options: laid over the recipe's for this system, e.g. --options.epochs 5 --options.width 64
        init: a run of `pretrain` or `train` to start from (--options.layer_decay 0.7 keeps its lower layers near)
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
    recipe: Recipe = field(default_factory=Recipe)
    classes: str | None = None
    subset: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    init: str | None = None
    seed: int = 0
    test_fold: int | None = None
    tracker: str = "tensorboard"
    force: bool = False


def train(job: Train) -> None:
    """Train, choose and test; nothing is done where the run is complete already. SIGTERM saves and exits with 143."""
    from accelerate.utils import broadcast_object_list

    from audio_tokens.engine.training.loop import Interrupted
    from audio_tokens.engine.world import processes
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.jobs.artefacts.run_folder import RunFolder, asked_to_stop
    from audio_tokens.shards.integrity import ids_of

    claim(job.out, "run", [job.tokens, job.shards, job.codebook, job.init])
    data, config, model, vectors = _resolve(job)
    settings = {
        "system": job.system,
        "seed": job.seed,
        "test_fold": job.test_fold,
        "train": asdict(config),
        "options": model.options,
        "data": data.hash,
    }
    if job.init is not None:
        settings["init"] = RunFolder(Path(job.init)).settings()["fingerprint"]
    settings |= {name: value for name in ("classes", "subset") if (value := getattr(job, name)) is not None}
    if f"fold-{job.test_fold}" in data.fitted_on:
        settings["leak"] = "all-folds"
        print(f"train: warning: the codebook has seen fold {job.test_fold}, which is tested", file=sys.stderr)
    made_from = ids_of(tokens=job.tokens, shards=job.shards, codebook=job.codebook, init=job.init)
    folder = RunFolder(Path(job.out), made_from)
    settings |= {"fingerprint": digest(settings)}
    settings |= {"tokens": folder.relative(job.tokens), "shards": folder.relative(job.shards)}
    with processes(job.tracker, job.out) as accelerator, asked_to_stop() as stopping, folder.lock(accelerator):
        say = print if accelerator.is_main_process else lambda *_: None
        wanted = [folder.begin(settings, job.force) if accelerator.is_main_process else False]
        if not broadcast_object_list(wanted)[0]:
            say(f"train: {job.out} is complete already")
            return
        say(f"train: {job.system} on {job.tokens or job.shards} -> {job.out}")
        accelerator.init_trackers("audio-tokens")
        try:
            result = _run(job, data, config, model, vectors, folder, accelerator, stopping)
        except Interrupted as stop:
            say(f"train: {stop}")
            raise SystemExit(143) from None
        say(f"train: {job.out}: mAP {result['mAP']:.3f} on {result['eval_place']} ({result['seconds']:.0f} s)")


def _resolve(job: Train) -> "tuple[TrainingData, TrainConfig, TaggerConfig, list[np.ndarray]]":
    """Open the data, lay the options over each other, and read what embeddings begin with."""
    from audio_tokens.engine.systems.registry import resolve
    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.jobs.inputs.clip_choice import with_classes
    from audio_tokens.jobs.inputs.training_data import open_for, vectors_of

    config, options = resolve(job.system, job.recipe.train, job.recipe.systems.get(job.system, {}) | job.options)
    data = open_for(job.system, job.tokens, job.shards, soft=config.soft)
    embedding = "drawn" if job.init is not None else options.get("embedding", "drawn")  # a run brings its own
    vectors = vectors_of(data, job.codebook, embedding)
    if job.classes is not None:
        data = with_classes(data, job.classes)
    return (
        data,
        config,
        TaggerConfig(
            system=job.system,
            vocab_sizes=data.vocab_sizes,
            alternatives=data.alternatives,
            bands=data.bands,
            longest=data.longest,
            single_label=data.single_label,
            options=options,
            id2label=dict(enumerate(data.labels)),
        ),
        vectors,
    )


def _run(
    job: Train,
    data: "TrainingData",
    config: "TrainConfig",
    model: "TaggerConfig",
    vectors: "list[np.ndarray]",
    folder: "RunFolder",
    accelerator: "Accelerator",
    stopping: Callable[[], bool],
) -> dict[str, Any]:
    """Choose, refit where the choice was made on a part of what may be learnt from, test once, and commit."""
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.engine.training.loop import predict
    from audio_tokens.engine.training.train_system import Trial
    from audio_tokens.jobs.artefacts.run_folder import Predictions, figures_of
    from audio_tokens.jobs.inputs.clip_choice import ClipSubset
    from audio_tokens.jobs.inputs.epoch_order import order_of
    from audio_tokens.jobs.inputs.training_data import parts_of
    from audio_tokens.shards.publish import published_file

    subset = None if job.subset is None else ClipSubset(job.subset, job.seed)
    parts = parts_of(data, job.test_fold, config.inner_share, job.seed, subset)
    trial = Trial(
        system=model,
        train=config,
        seed=job.seed,
        order=partial(order_of, config),
        accelerator=accelerator,
        folder=folder.checkpoints,
        publish=published_file,
        stopping=stopping,
        vectors=vectors,
        initial=Path(job.init) / "model" if job.init is not None else None,
    )
    chosen = trial.choose(parts.train, parts.validation, folder.curves("metrics", accelerator))
    fitted, clips = chosen, parts.train
    if parts.refit is not None:
        fitted, clips = trial.refit(parts.refit, chosen, folder.curves("refit", accelerator)), parts.refit
    scores_CL, _ = predict(fitted.model, parts.test, accelerator, config.score_views)
    targets_CL = parts.test.labels.table()
    tested = score(scores_CL, targets_CL)
    assert chosen.validation is not None
    result = {
        "system": job.system,
        "seed": job.seed,
        "test_fold": job.test_fold,
        "clips_train": len(clips),
        "clips_eval": tested.clips,
        **figures_of(tested),
        "peak_val_mAP": chosen.validation.mAP,
        "parameters": fitted.model.num_parameters(only_trainable=True),
        "seconds": chosen.seconds + (fitted.seconds if parts.refit is not None else 0.0),
        "eval_place": parts.places[1],
    }
    if accelerator.is_main_process:
        folder.write_classes(data.labels, dict(zip(parts.places, (chosen.validation, tested), strict=True)))
        folder.write_predictions(
            Predictions(
                keys=list(parts.test.keys), labels=list(data.labels), scores_CL=scores_CL, targets_CL=targets_CL
            )
        )
        folder.write_model(fitted.model)
        folder.finish(result)
    accelerator.wait_for_everyone()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    return command(Train, train, argv)


if __name__ == "__main__":
    sys.exit(main())
