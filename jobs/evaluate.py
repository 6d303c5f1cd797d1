"""evaluate: score a run on a split, exactly, on any number of processes."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audio_tokens.engine.ranges import Count, check
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.training_recipe import must_read

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
        json: print the figures as one JSON object, every digit
    """

    run: str
    split: str
    tokens: str | None = None
    shards: str | None = None
    replicates: Count = 200
    json: bool = False

    def __post_init__(self) -> None:
        check(self)


def evaluate(request: Evaluate) -> None:
    """Print the figures and publish them as `evaluation-SPLIT.json` in the run's folder, class by class."""
    from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder, figures_of
    from audio_tokens.jobs.inputs.places import stored

    folder = RunFolder(Path(request.run))
    settings = folder.settings()
    if settings["system"] == "masked-tokens":
        raise UserError(
            f"{request.run} is a pre-training, which tags nothing; evaluate a run of `train --init {request.run}`"
        )
    tokens = request.tokens or folder.located(settings["tokens"])
    shards = request.shards or folder.located(settings["shards"])
    must_read(settings["system"], tokens, shards)
    places = stored(tokens, shards).places  # a mistake so far is told before torch is imported
    if request.split not in places:
        raise UserError(f"the data has no split or fold {request.split!r}; it has {', '.join(places)}")

    from audio_tokens.engine.scores.bootstrap import interval
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.engine.systems.registry import load
    from audio_tokens.engine.training.evaluation import predict
    from audio_tokens.engine.world import processes
    from audio_tokens.jobs.inputs.clip_choice import with_labels
    from audio_tokens.jobs.inputs.training_data import open_for
    from audio_tokens.shards.integrity import add_file
    from audio_tokens.shards.publish import target_lock

    data = open_for(settings["system"], tokens, shards, soft=settings["train"].get("soft", False))
    model = load(folder.path / "model")
    if "classes" in settings:
        names = set(model.config.label_names)
        data = with_labels(data, [number for number, label in enumerate(data.labels) if label in names])
    sizes = list(data.vocab_sizes), data.bands
    if settings.get("made_by", data.made_by) != data.made_by or sizes != (
        model.config.vocab_sizes,
        model.config.bands,
    ):
        what, remedy = ("codebook", "encode with --codebook") if data.vocab_sizes else ("front end", "build with")
        its_own = folder.path / "model" / ("codebook" if data.vocab_sizes else "front_end.json")
        raise UserError(f"{tokens or shards} was made by another {what} than {request.run} reads; {remedy} {its_own}")
    if data.alternatives != model.config.alternatives:
        raise UserError(
            f"{request.run} was trained on {model.config.alternatives} tokens a position and stream, this data holds "
            f"{data.alternatives}; encode with --top {model.config.alternatives}"
        )
    if list(data.labels) != model.config.label_names:
        raise UserError(f"{request.run} tags other labels than this data has; evaluate it on data with its own labels")
    with processes() as accelerator:
        clips, groups = data.read((request.split,))
        scores_CL, losses_C = predict(
            model.to(accelerator.device), clips, accelerator, settings["train"]["score_views"]
        )
        if accelerator.is_main_process:
            targets_CL = clips.labels.table()
            scores = score(scores_CL, targets_CL)
            predictions = Predictions(
                keys=list(clips.keys),
                groups=list(groups),
                labels=list(data.labels),
                scores_CL=scores_CL,
                targets_CL=targets_CL,
            )
            again = predictions.replicates(request.replicates)
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
            print(json.dumps(result) if request.json else "\n".join(_table(request, result)))


def _table(request: Evaluate, result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of the figures with their intervals."""
    yield f"{request.run} on {request.split}: {result['clips']:,} clips, loss {result['loss']:.4f} a clip"
    yield "figure       value  95 % interval"
    for name, percent in (("mAP", True), ("mAUC", True), ("dprime", False), ("accuracy", True)):
        values = [result[name], *(result.get(f"{name}_95") or (None, None))]
        value, low, high = ("-" if x is None else f"{100 * x:.2f} %" if percent else f"{x:.3f}" for x in values)
        yield f"{name:<9}{value:>9}" + (f"  {low} to {high}" if low != "-" else "")
    yield f"class by class: {Path(request.run) / f'evaluation-{request.split}.json'}"


def main(argv: Sequence[str] | None = None) -> int:
    return command(Evaluate, evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
