"""pretrain: tokens without labels become a model to start from (`train --init RUN`)."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.fingerprints import digest
from audio_tokens.jobs.command import command
from audio_tokens.jobs.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Teach token-bert to predict hidden tokens; the same command resumes a run that was interrupted.

    Args:
        tokens: tokens.zarr; its labels are not looked at
        codebook: the tokens' codebook, where embeddings begin with its centroids (--options.embedding centroids)
        out: the folder of the run
        recipe: a packaged recipe's name or a YAML file
        options: laid over the recipe's for token-bert, e.g. --options.epochs 5 --options.width 64; what concerns labels
            or augmentation (loss, label_smoothing, roll, mix, mask) has no part in this
        hide: share of a clip's positions that are hidden
        seed: of weights, order, spans and dropout
        test_fold: the fold that is left out; data with splits is learnt from its train split
        tracker: where curves go beside metrics.csv
        force: replace a run that was made otherwise
    """

    tokens: str
    out: str
    codebook: str | None = None
    recipe: Recipe = field(default_factory=Recipe)
    options: dict[str, Any] = field(default_factory=dict)
    hide: float = 0.3
    seed: int = 0
    test_fold: int | None = None
    tracker: str = "tensorboard"
    force: bool = False


def pretrain(job: Pretrain) -> None:
    """Train on the clips that may be learnt from; nothing is done where the run is complete already."""
    import torch
    from accelerate.utils import broadcast_object_list

    from audio_tokens.engine.systems.registry import resolve
    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.engine.training.checkpoints import Checkpoints
    from audio_tokens.engine.training.loop import Interrupted, fit
    from audio_tokens.engine.training.pretraining import MaskedPrediction, MaskedTokens
    from audio_tokens.engine.world import processes
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.jobs.artefacts.run_folder import RunFolder, asked_to_stop
    from audio_tokens.jobs.inputs.epoch_order import order_of
    from audio_tokens.jobs.inputs.places import fitted_places
    from audio_tokens.jobs.inputs.training_data import open_data, vectors_of
    from audio_tokens.seeds import generator
    from audio_tokens.shards.integrity import ids_of
    from audio_tokens.shards.publish import published_file

    if not 0 < job.hide < 1:
        raise UserError(f"--hide {job.hide:g}: the share of positions that are hidden lies between 0 and 1")
    claim(job.out, "run", [job.tokens, job.codebook])
    config, options = resolve("token-bert", job.recipe.train, job.recipe.systems.get("token-bert", {}) | job.options)
    data = open_data(job.tokens, None)
    vectors = vectors_of(data, job.codebook, options["embedding"])
    settings = {"system": "masked-tokens", "seed": job.seed, "test_fold": job.test_fold, "hide": job.hide}
    settings |= {"train": asdict(config), "options": options, "data": data.hash}
    folder = RunFolder(Path(job.out), ids_of(tokens=job.tokens, codebook=job.codebook))
    settings |= {"fingerprint": digest(settings), "tokens": folder.relative(job.tokens), "shards": None}
    with processes(job.tracker, job.out) as accelerator, asked_to_stop() as stopping, folder.lock(accelerator):
        say = print if accelerator.is_main_process else lambda *_: None
        wanted = [folder.begin(settings, job.force) if accelerator.is_main_process else False]
        if not broadcast_object_list(wanted)[0]:
            say(f"pretrain: {job.out} is complete already")
            return
        accelerator.init_trackers("audio-tokens")
        clips, _ = data.read(fitted_places(data, job.test_fold))
        with torch.random.fork_rng():
            torch.manual_seed(int(generator(job.seed, "weights").integers(2**63)))
            model = MaskedTokens(
                TaggerConfig(
                    system="token-bert",
                    vocab_sizes=data.vocab_sizes,
                    longest=data.longest,
                    options=options,
                    num_labels=1,
                )
            )
            model.initialise(vectors)
            model = model.to(accelerator.device)
        try:
            progress = fit(
                model,
                clips,
                None,
                config=config,
                objective=MaskedPrediction(vocab_sizes=data.vocab_sizes, share=job.hide),
                seed=job.seed,
                order=order_of(config, clips),
                accelerator=accelerator,
                checkpoints=Checkpoints(folder=folder.checkpoints / "pretrain", publish=published_file),
                stopping=stopping,
                on_epoch=folder.curves("metrics", accelerator),
            )
        except Interrupted as stop:
            say(f"pretrain: {stop}")
            raise SystemExit(143) from None
        loss = progress.rows[-1]["train_loss"]
        if accelerator.is_main_process:
            folder.write_model(model)
            folder.finish({"pretrained": "token-bert", "seed": job.seed, "clips_train": len(clips), "train_loss": loss})
        say(f"pretrain: {job.out}: {loss:.3f} nats a hidden token")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Pretrain, pretrain, argv)


if __name__ == "__main__":
    sys.exit(main())
