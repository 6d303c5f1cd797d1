"""ESC-10 laid out in folders is ESC-10: the same tokens and, with the same folds, the same figures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.jobs import cli
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tokens.token_store import TokenStore


def run(words: str) -> None:
    assert cli.main(words.split()) == 0, words


def tokens_of(work: Path, name: str) -> dict[str, np.ndarray]:
    """Return the tokens of every clip by the name of its file."""
    dataset, store = Dataset.open(work / f"{name}-shards"), TokenStore.open(work / f"{name}.zarr")
    samples = [sample for index in range(len(dataset.shards)) for sample in dataset.read(index)]
    file_of = {sample.key: Path(sample.meta["id"]).name for sample in samples}
    group = store.group(*store.places)
    pairs = zip(group.offsets, group.offsets[1:], strict=False)
    return {file_of[key]: group.ids_PQ[start:stop] for key, (start, stop) in zip(group.keys, pairs, strict=True)}


@pytest.mark.long
def test_folders_of_classes_give_the_tokens_and_the_figures_of_the_list(data_dir: Path, tmp_path: Path) -> None:
    with (data_dir / "esc10" / "meta" / "esc50.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    audio = {path.stem: path for path in (data_dir / "esc10" / "audio").iterdir()}
    for line in lines:
        path = audio[Path(line["filename"]).stem]
        of_class = tmp_path / "in" / f"fold{line['fold']}" / line["category"]
        of_class.mkdir(parents=True, exist_ok=True)
        (of_class / path.name).symlink_to(path)
    sources = {"list": f"esc50:{data_dir}/esc10", "folders": f"folder:{tmp_path}/in"}
    figures = {}
    for name, source in sources.items():
        run(f"build --source {source} --out {tmp_path}/{name}-shards")
        if name == "list":
            run(f"cluster --shards {tmp_path}/list-shards --out {tmp_path}/book --test-fold 1")
        run(f"encode --shards {tmp_path}/{name}-shards --codebook {tmp_path}/book --out {tmp_path}/{name}.zarr")
        run(f"train --tokens {tmp_path}/{name}.zarr --system token-bag --test-fold 1 --out {tmp_path}/{name}-run")
        figures[name] = json.loads((tmp_path / f"{name}-run" / "result.json").read_text())
    one, other = (tokens_of(tmp_path, name) for name in sources)
    assert len(one) == len(lines) == 400
    assert one.keys() == other.keys()
    for file_name, ids_PQ in one.items():
        np.testing.assert_array_equal(ids_PQ, other[file_name])
    for what in ("accuracy", "mAP", "clips_train", "clips_eval"):
        assert figures["list"][what] == pytest.approx(figures["folders"][what], abs=2e-3), what
