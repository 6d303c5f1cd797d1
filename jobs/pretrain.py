"""pretrain: tokens without labels become a model to start from (`train --init RUN`)."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from audio_tokens.engine.ranges import InnerShare, Natural, check
from audio_tokens.engine.systems.options import PretrainOptions
from audio_tokens.engine.train_config import model_options, training_of
from audio_tokens.jobs.command import command
from audio_tokens.jobs.training_recipe import PRETRAINABLE, TrainingRecipe


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Teach token-bert to predict hidden tokens; the same command resumes a run that was interrupted.

    Args:
        tokens: tokens.zarr; its labels are not looked at
        codebook: the tokens' codebook, where embeddings begin with its centroids (--options.embedding centroids)
        out: the folder of the run
        recipe: a packaged recipe's name or a YAML file; what it says of token-bert's labels has no part in this
        options: token-bert's, e.g. --options.epochs 5 --options.width 64; the recipe's where none are given
        hide: share of a clip's positions that are hidden
        seed: of weights, order, spans and dropout
        test_fold: the fold that is left out; data with splits is learnt from its train split
        tracker: where curves go beside metrics.csv
        force: replace a run that was made otherwise
    """

    tokens: str
    out: str
    codebook: str | None = None
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    options: PretrainOptions | None = None
    hide: InnerShare = 0.3
    seed: Natural = 0
    test_fold: int | None = None
    tracker: str = "tensorboard"
    force: bool = False

    def __post_init__(self) -> None:
        check(self)


def pretrain(request: Pretrain) -> None:
    """Train on the clips that may be learnt from; nothing is done where the run is complete already."""
    from audio_tokens.jobs.inputs.places import fitted_places, stored

    # a mistake in these is told before torch is imported
    places = fitted_places(stored(request.tokens, None), request.test_fold)

    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.engine.training.loop import train_by_steps
    from audio_tokens.engine.training.pretraining import MaskedPrediction, MaskedTokens
    from audio_tokens.engine.training.train_system import fresh
    from audio_tokens.jobs.artefacts.open_run import open_run
    from audio_tokens.jobs.inputs.training_data import open_data, vectors_of

    options = request.options or PRETRAINABLE.by(request.recipe)
    own, config = model_options(options), training_of(options)
    data = open_data(request.tokens, None)
    vectors = vectors_of(data, request.codebook, options.embedding)
    settings = {
        "system": "masked-tokens",
        "seed": request.seed,
        "test_fold": request.test_fold,
        "hide": request.hide,
        "train": asdict(config),
        "options": own,
        "data": data.hash,
    }
    facts = {"tokens": request.tokens, "shards": None, "made_by": data.made_by, "learnt_from": list(places)}
    with open_run("pretrain", request, settings, facts, config) as opened:
        if opened is None:
            return
        folder, context = opened
        clips, _ = data.read(places)
        system = TaggerConfig(
            system="token-bert",
            vocab_sizes=data.vocab_sizes,
            longest=data.longest,
            options=own | {"pooling": "first"},
            id2label={0: ""},  # nothing is tagged yet
        )
        model = fresh(system, context, vectors, make=MaskedTokens)
        objective = MaskedPrediction(vocab_sizes=data.vocab_sizes, share=request.hide)
        progress = train_by_steps(model, clips, None, objective, context, "pretrain")
        loss = progress.rows[-1]["train_loss"]
        if context.accelerator.is_main_process:
            folder.write_model(model)
            folder.finish(
                {"pretrained": "token-bert", "seed": request.seed, "clips_train": len(clips), "train_loss": loss}
            )
        context.say(f"{request.out}: {loss:.3f} nats a hidden token")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Pretrain, pretrain, argv, options=lambda _: PRETRAINABLE)


if __name__ == "__main__":
    sys.exit(main())
