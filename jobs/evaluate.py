"""evaluate: score a run on a split, exactly, on any number of processes."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.engine.ranges import Count, check
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command

WAIT_S = 60.0  # another evaluation may just be written down


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a run on a split or fold of its own data, or of other data made the same way.

    Args:
        run: the folder of a run
        split: the split or fold, e.g. test
        tokens: other tokens.zarr than the run was trained on
        shards: other mel shards than the run was trained on
        replicates: bootstrap samples for the 95 % intervals
    """

    run: str
    split: str
    tokens: str | None = None
    shards: str | None = None
    replicates: Count = 200

    def __post_init__(self) -> None:
        check(self)


def evaluate(request: Evaluate) -> None:
    """Print the figures and publish them as `evaluation-SPLIT.json` in the run's folder, class by class."""
    from audio_tokens.engine.scores.bootstrap import interval, replicates
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.engine.systems.registry import load
    from audio_tokens.engine.training.evaluation import predict
    from audio_tokens.engine.world import processes
    from audio_tokens.jobs.artefacts.run_folder import RunFolder, figures_of
    from audio_tokens.jobs.inputs.clip_choice import with_classes
    from audio_tokens.jobs.inputs.training_data import open_for
    from audio_tokens.shards.integrity import add_file
    from audio_tokens.shards.publish import target_lock

    folder = RunFolder(Path(request.run))
    settings = folder.settings()
    if settings["system"] == "masked-tokens":
        raise UserError(
            f"{request.run} is a pre-training, which tags nothing; evaluate a run of `train --init {request.run}`"
        )
    data = open_for(
        settings["system"],
        request.tokens or folder.located(settings["tokens"]),
        request.shards or folder.located(settings["shards"]),
        soft=settings["train"].get("soft", False),
    )
    if "classes" in settings:
        data = with_classes(data, settings["classes"])
    if request.split not in data.places:
        raise UserError(f"the data has no split or fold {request.split!r}; it has {', '.join(data.places)}")
    model = load(folder.path / "model")
    if data.alternatives != model.config.alternatives:
        raise UserError(
            f"{request.run} was trained on {model.config.alternatives} tokens a position and stream, this data holds "
            f"{data.alternatives}; encode with --top {model.config.alternatives}"
        )
    if list(data.labels) != model.config.label_names:
        raise UserError(f"{request.run} tags other labels than this data has; evaluate it on data with its own labels")
    with processes() as accelerator:
        clips = data.read((request.split,))[0]
        scores_CL, losses_C = predict(
            model.to(accelerator.device), clips, accelerator, settings["train"]["score_views"]
        )
        if accelerator.is_main_process:
            targets_CL = clips.labels.table()
            scores = score(scores_CL, targets_CL)
            again = replicates(scores_CL, targets_CL, count=request.replicates)
            classes = [
                {"label": label, "positives": int(positives), "ap": float(ap) if positives else None}
                for label, positives, ap in zip(data.labels, scores.positives_L, scores.ap_L, strict=True)
            ]
            result = {
                "split": request.split,
                "clips": scores.clips,
                "loss": float(losses_C.mean(dtype="float64")),
                **figures_of(scores),
                **{f"{name}_95": interval(figures_R) for name, figures_R in again.items()},
            }
            text = json.dumps(result | {"classes": classes}, indent=1) + "\n"
            with target_lock(folder.path, wait_s=WAIT_S):
                add_file(folder.path, f"evaluation-{request.split}.json", text.encode())
            print(json.dumps(result))


def main(argv: Sequence[str] | None = None) -> int:
    return command(Evaluate, evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
