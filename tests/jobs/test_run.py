"""run: every stage once, a second time none; with folds everything fitted is fitted again for each."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.jobs import cli
from audio_tokens.jobs.run import PIPELINE_SYSTEMS
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tokens.token_store import TokenStore

ROW = {
    "system", "recipe", "seed", "clips_train", "clips_eval", "mAP", "mAUC", "dprime", "accuracy", "peak_val_mAP",
    "mAP_pooled", "parameters", "seconds", "notes", "folds",
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with all seven systems, trained for one epoch on 200 clips of a second."""
    folder = tmp_path_factory.mktemp("run") / "w"
    words = f"run --source soundscapes:200,clip_s=1 --work {folder} --workers 1 --recipe.train.epochs 1"
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "50"]) == 0
    return folder


def test_every_system_has_its_row(work: Path) -> None:
    rows = json.loads((work / "leaderboard.json").read_text())
    assert {row["system"] for row in rows} == set(PIPELINE_SYSTEMS)
    for row in rows:
        assert set(row) == ROW
        assert (row["recipe"], row["seed"], row["folds"], row["notes"], row["accuracy"]) == ("default", 0, [], [], None)
        assert (row["clips_train"], row["clips_eval"]) == (160, 20)
        assert 0 <= row["mAP"] <= 1
        assert 0 <= row["peak_val_mAP"] <= 1
        assert row["parameters"] > 0


def test_the_work_folder_is_laid_out_as_the_readme_says(work: Path) -> None:
    base = work / "default-0"
    dataset, store = Dataset.open(work / "shards"), TokenStore.open(base / "tokens.zarr")
    tokenizer = AudioTokenizer.from_pretrained(base / "codebook")
    assert store.places == dataset.places == ("train", "val", "test")
    first = next(index for index, shard in enumerate(dataset.shards) if shard.place == "train")
    group, sample = store.group("train"), dataset.sample(first, 0)
    assert str(group.keys[0]) == sample.key
    ids_PQ = tokenizer.encode_mel(sample.array_TF.astype(np.float32))
    np.testing.assert_array_equal(group.ids_PQ[group.offsets[0] : group.offsets[1]], ids_PQ)
    for system in PIPELINE_SYSTEMS:
        assert (base / system / "model" / "config.json").is_file()
        assert (base / system / "per_class.csv").is_file()


def test_the_report_holds_its_pictures_and_asks_nothing_of_a_network(work: Path) -> None:
    page = (work / "report.html").read_text()
    assert page.count("<img") >= 6
    assert page.count("<audio") >= 6
    assert re.findall(r"(?:src|href|data-sound)='(?!data:|#)", page) == []
    assert "://" not in page
    for system in PIPELINE_SYSTEMS:
        assert f"<td class=word>{system}</td>" in page


def test_a_second_run_does_nothing_and_says_so(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_bytes() for file in sorted(work.rglob("*")) if file.is_file()}
    words = f"run --source soundscapes:200,clip_s=1 --work {work} --workers 1 --recipe.train.epochs 1"
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "50"]) == 0
    said = capsys.readouterr().out
    assert said.count("is complete already") == 3 + len(PIPELINE_SYSTEMS)
    assert {file: file.read_bytes() for file in sorted(work.rglob("*")) if file.is_file()} == before


def test_another_recipe_in_the_same_place_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"run --source soundscapes:200,clip_s=1 --work {work} --workers 1 --systems token-bag"
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "40"]) == 2
    assert "--force" in capsys.readouterr().err


def test_what_reads_mel_beside_tokens_is_refused_with_views_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"run --source soundscapes:60,clip_s=1 --work {tmp_path}/w --systems token-bag,hybrid-bert"
    assert cli.main([*words.split(), "--recipe.views.count", "2"]) == 2
    assert "hybrid-bert reads mel beside every token, and views have none" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_folds_are_tested_once_each_by_what_has_not_seen_them(tmp_path: Path) -> None:
    """Two classes that any bag tells apart (a tone, noise), 3 folds of 8 clips; groups never straddle folds."""
    rng = np.random.default_rng(0)
    lines = ["path,labels,fold,group"]
    for index in range(24):
        tone = np.sin(2 * np.pi * (400 + 10 * index) * np.arange(11025) / 22050)
        wave = tone if index % 2 else rng.uniform(-1, 1, 11025)
        soundfile.write(tmp_path / f"{index}.wav", (0.3 * wave).astype(np.float32), 22050)
        lines.append(f"{index}.wav,{'tone' if index % 2 else 'noise'},{index % 3 + 1},g{index}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    words = (
        f"run --source csv:{tmp_path}/list.csv --folds --systems token-bag --seeds 0,1 --work {tmp_path}/w --workers 1"
    )
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "8"]) == 0
    rows = json.loads((tmp_path / "w" / "leaderboard.json").read_text())
    assert [row["seed"] for row in rows] == [0, 1]
    for row in rows:
        assert [fold["fold"] for fold in row["folds"]] == [1, 2, 3]
        assert [fold["clips_eval"] for fold in row["folds"]] == [8, 8, 8]
        assert row["clips_eval"] == 24
        assert row["clips_train"] == 16
        assert row["accuracy"] == 1.0
    for fold in (1, 2, 3):
        config = json.loads((tmp_path / "w" / "default-0" / f"fold-{fold}" / "codebook" / "config.json").read_text())
        assert f"fold-{fold}" not in json.dumps(config["origin"]["places"])
        assert len(config["origin"]["places"]) == 2
