"""describe: what an artefact holds."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.verify import kind_of

BAR = 30  # characters of the longest bar of a histogram


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Say what artefacts hold: counts, hours, labels, and with --pictures a few clips.

    Args:
        artefacts: folders of mel shards, codebooks, tokens.zarr or runs
        pictures: a PNG file to draw the mel of a few clips into (mel shards only)
        most_labels: how many labels the histogram shows
    """

    artefacts: tuple[str, ...]
    pictures: str | None = None
    most_labels: int = 20

    def __post_init__(self) -> None:
        if self.most_labels < 0:
            raise UserError(f"--most_labels {self.most_labels}: it must be at least 0")


def describe(config: Describe) -> None:
    """Print the description; draw the pictures where a file is named."""
    for artefact in config.artefacts:
        folder = Path(artefact)
        for line in DESCRIPTIONS[kind_of(folder)](folder, config.most_labels):
            print(line)
        if config.pictures and kind_of(folder) == "shards":
            _draw(folder, Path(config.pictures))
            print(f"pictures: {config.pictures}")


def _shards(folder: Path, most_labels: int) -> list[str]:
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset = Dataset.open(folder)
    totals = dataset.manifest["totals"]
    lines = [
        f"{folder}: mel shards of {dataset.manifest['build']['source']}",
        f"  {totals['clips']:,} clips, {totals['seconds'] / 3600:.2f} hours, {totals['frames']:,} frames, "
        f"{totals['bytes'] / 1e6:,.1f} MB in {len(dataset.shards)} shards; {totals['rejected']:,} clips rejected",
    ]
    for place in dataset.places:
        mine = [shard for shard in dataset.shards if shard.place == place]
        clips, hours = sum(shard.clips for shard in mine), sum(shard.seconds for shard in mine) / 3600
        lines.append(f"  {place:<8}{clips:>10,} clips {hours:>10.2f} hours")
    counts_L = np.zeros(len(dataset.labels), np.int64)
    for counts in dataset.manifest["label_counts"].values():
        counts_L += counts
    lines.append(f"  {len(dataset.labels)} labels{', one a clip' if dataset.single_label else ''}:")
    order = np.argsort(-counts_L, kind="stable")
    for label in order[:most_labels]:
        bar = "#" * int(np.ceil(BAR * counts_L[label] / max(1, counts_L.max())))
        lines.append(f"  {dataset.labels[label]:<28.28}{counts_L[label]:>9,} {bar}")
    if len(order) > most_labels:
        lines.append(f"  ... and {len(order) - most_labels} more, the rarest {dataset.labels[order[-1]]!r}")
    return lines


def _tokens(folder: Path, most_labels: int) -> list[str]:
    from audio_tokens.shards.tokens.token_store import TokenStore

    store = TokenStore.open(folder)
    return [
        f"{folder}: tokens",
        *(f"  {place}: {len(store.group(place).load()):,} clips" for place in store.places),
    ]


def _codebook(folder: Path, most_labels: int) -> list[str]:
    from audio_tokens.engine.codebook.codebook_file import CONFIG, Codebook

    Codebook.load(folder)  # names what is damaged
    return [f"{folder}:", json.dumps(json.loads((folder / CONFIG).read_bytes()), indent=2)]


def _run(folder: Path, most_labels: int) -> list[str]:
    from audio_tokens.jobs.artefacts.run_folder import RunFolder

    return [f"{folder}:", json.dumps(RunFolder(folder).result(), indent=2)]


DESCRIPTIONS = {"shards": _shards, "tokens": _tokens, "codebook": _codebook, "run": _run}


def _draw(folder: Path, file: Path) -> None:
    """Draw one clip of each of the first shards."""
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
