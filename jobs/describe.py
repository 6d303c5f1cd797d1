"""describe: what an artefact is, what made it, and whether it is whole."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.engine.ranges import Natural, check
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say what artefacts are: what they hold, what made them and whether all their files are there.

    Args:
        artefacts: folders of mel shards, codebooks, tokens.zarr, runs or models
        json: print one JSON array, an entry an artefact
        pictures: a PNG file to draw the mel of a few clips into (mel shards only)
        most_labels: how many labels are listed
    """

    artefacts: tuple[str, ...]
    json: bool = False
    pictures: str | None = None
    most_labels: Natural = 20

    def __post_init__(self) -> None:
        check(self)


def describe(config: Describe) -> None:
    """Print the descriptions; draw the pictures where a file is named."""
    from audio_tokens.jobs.artefacts.description import facts_of, words_of

    found = []
    for artefact in map(Path, config.artefacts):
        found.append(facts_of(artefact, _kind(artefact)))
        if not config.json:
            print("\n".join(words_of(found[-1], config.most_labels)))
        if config.pictures and found[-1]["kind"] == "shards":
            _draw(artefact, Path(config.pictures))
            if not config.json:
                print(f"  pictures: {config.pictures}")
    if config.json:
        print(json.dumps(found, indent=1))


def _kind(folder: Path) -> str:
    """Return what a folder holds; a model, as others may have it, stands outside of any run."""
    from audio_tokens.jobs.verify import kind_of

    return "model" if (folder / "model.safetensors").is_file() else kind_of(folder)


def _draw(folder: Path, file: Path) -> None:
    """Draw one clip of each of the first shards."""
    import numpy as np

    from audio_tokens.jobs.display.pictures import new_figure
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.publish import published_file

    dataset = Dataset.open(folder)
    samples = [dataset.sample(index, 0) for index in range(min(4, len(dataset.shards)))]
    if not samples:
        raise UserError(f"{folder} has no clip, so there is nothing to draw into {file}")
    figure = new_figure(9.0, 2.0 * len(samples))
    for axes, sample in zip(figure.subplots(len(samples), 1, squeeze=False)[:, 0], samples, strict=True):
        axes.imshow(sample.array_TF.T.astype(np.float32), origin="lower", aspect="auto", cmap="magma")
        names = ", ".join(dataset.labels[label] for label in sample.meta["labels"])
        axes.set_title(f"{sample.key}: {names}", loc="left", fontsize=9)
    with published_file(file) as temporary:
        figure.savefig(temporary, format="png")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Describe, describe, argv, positional="artefacts")


if __name__ == "__main__":
    sys.exit(main())
