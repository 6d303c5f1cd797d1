"""Laws of a run: choices on held-out clips, the tested fold seen by nothing, complete or resumed, never mixed up."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from jobs import cli
from jobs.run_folder import Predictions, RunFolder
from jobs.training_data import open_data, parts_of

QUICK = "--options.epochs 3 --options.batch_clips 16"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with splits (soundscapes), and data with folds (the same waves as a list of recordings)."""
    import soundfile

    from shards.sources import open_source

    work = tmp_path_factory.mktemp("train")
    source = open_source("soundscapes:60,clip_s=1")
    clips = [clip for task in source.tasks() for clip in source.clips(task)]
    lines = ["path,labels,fold,group"]
    for index, clip in enumerate(clips):
        soundfile.write(work / f"{index}.wav", clip.wave_S, clip.rate_hz)
        lines.append(f"{index}.wav,{'odd' if index % 2 else 'even'},{index // 2 % 3 + 1},recording-{index // 2}")
    (work / "list.csv").write_text("\n".join(lines) + "\n")
    for name, spec in (("splits", "soundscapes:60,clip_s=1"), ("folds", f"csv:{work}/list.csv")):
        fold = " --test-fold 2" if name == "folds" else ""
        for words in (
            f"build --source {spec} --out {work}/{name} --workers 1",
            f"cluster --shards {work}/{name} --out {work}/{name}-book --recipe.kmeans.clusters 8{fold}",
            f"encode --shards {work}/{name} --codebook {work}/{name}-book --out {work}/{name}.zarr --workers 1",
        ):
            assert cli.main(words.split()) == 0, words
    return work


def run(words: str) -> int:
    return cli.main(words.split())


@pytest.mark.parametrize("system", ["token-bag", "token-linear", "raw-linear"])
def test_a_run_holds_what_it_promises(system: str, work: Path, tmp_path: Path) -> None:
    data = f"--tokens {work}/splits.zarr" if system.startswith("token") else f"--shards {work}/splits"
    quick = "" if system == "token-bag" else QUICK
    assert run(f"train {data} --system {system} --out {tmp_path}/run {quick}") == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {
        "system", "seed", "test_fold", "clips_train", "clips_eval", "mAP", "mAUC", "dprime", "accuracy",
        "peak_val_mAP", "parameters", "seconds", "eval_place",
    } <= result.keys()  # fmt: skip
    assert (result["eval_place"], result["accuracy"]) == ("test", None)
    with (tmp_path / "run" / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"val", "test"}
    assert len(rows) == 2 * 16
    if system != "token-bag":
        with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
            epochs = list(csv.DictReader(file))
        columns = ["epoch", "step", "world", "clips", "seconds", "learning_rate", "train_loss", "val_loss", "val_mAP"]
        assert list(epochs[0])[:9] == columns
        assert [row["epoch"] for row in epochs] == ["1", "2", "3"]
        assert float(result["peak_val_mAP"]) == pytest.approx(max(float(row["val_mAP"]) for row in epochs), rel=1e-5)
        assert list((tmp_path / "run").glob("**/events.out.tfevents*"))
    assert run(f"evaluate --run {tmp_path}/run --split test") == 0
    again = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert again["mAP"] == pytest.approx(result["mAP"], abs=1e-9)
    assert again["mAP_95"][0] <= again["mAP_95"][1]


def test_complete_is_left_alone_other_settings_are_refused_and_force_replaces(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train --tokens {work}/splits.zarr --system token-linear --out {tmp_path}/run {QUICK}"
    assert run(words) == 0
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert run(words) == 0
    assert "is complete already" in capsys.readouterr().out
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before
    assert run(f"{words} --seed 1") == 2
    assert "holds a run made with other settings or from other data; --force replaces it" in capsys.readouterr().err
    assert run(f"{words} --seed 1 --force") == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seed"] == 1


def test_the_tested_fold_is_seen_by_nothing_and_recordings_stay_together(work: Path) -> None:
    data = open_data(f"{work}/folds.zarr", None)
    parts = parts_of(data, 2, 0.3, seed=0)
    train, chosen_on, tested = set(parts.train.keys), set(parts.validation.keys), set(parts.test.keys)
    assert not train & chosen_on
    assert parts.refit is not None
    assert train | chosen_on == set(parts.refit.keys)
    assert not tested & set(parts.refit.keys)
    assert len(tested) + len(parts.refit) == 60
    _, groups = data.read(("fold-1", "fold-3"))
    group_of = dict(zip(parts.refit.keys, groups, strict=True))
    assert not {group_of[key] for key in train} & {group_of[key] for key in chosen_on}
    assert "fold-2" not in data.fitted_on


def test_a_fold_is_chosen_inside_refitted_on_all_and_tested_once(work: Path, tmp_path: Path) -> None:
    words = f"train --tokens {work}/folds.zarr --system token-linear --test-fold 2 --out {tmp_path}/run {QUICK}"
    assert run(words) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["eval_place"], result["test_fold"], result["clips_train"], result["clips_eval"]) == (
        "fold-2", 2, 40, 20,
    )  # fmt: skip
    assert result["accuracy"] is not None
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        chosen = max(csv.DictReader(file), key=lambda row: float(row["val_mAP"]))
    with (tmp_path / "run" / "refit.csv").open(newline="") as file:
        refit = list(csv.DictReader(file))
    assert len(refit) == int(chosen["epoch"])
    assert {row["clips"] for row in refit} == {"40"}


def test_a_codebook_that_saw_the_tested_fold_is_warned_of(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"train --tokens {work}/folds.zarr --system token-bag --test-fold 1 --out {tmp_path}/run") == 0
    assert "the codebook has seen fold 1, which is tested" in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").settings()["leak"] == "all-folds"


def test_compare_cross_validate_and_sweep(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = "--recipe.kmeans.clusters 8 --recipe.train.epochs 2"
    for system in ("token-bag", "token-linear"):
        assert run(f"cross-validate --shards {work}/folds --system {system} --work {tmp_path}/cv {quick}") == 0
    said = capsys.readouterr().out
    assert "token-linear, 3 folds, 60 clips" in said
    runs = [",".join(f"{tmp_path}/cv/default-0/fold-{i}/{s}" for i in (1, 2, 3)) for s in ("token-bag", "token-linear")]
    assert run(f"compare --a {runs[0]} --b {runs[1]}") == 0
    said = capsys.readouterr().out
    assert said.startswith("60 clips, 1000 bootstrap samples")
    assert "accuracy" in said
    assert run(f"compare --a {runs[0]} --b {runs[0]}") == 0
    assert "p 1.000" in capsys.readouterr().out

    grid = "{name: g, axes: {k: {k4: {kmeans: {clusters: [4]}}, k6: {kmeans: {clusters: [6]}}}}, "
    grid += "systems: [token-bag, raw-linear], seeds: [0], base: {train: {epochs: 1}}}"
    (tmp_path / "grid.yaml").write_text(grid)
    words = f"sweep --source soundscapes:60,clip_s=1 --work {tmp_path}/sweep --recipe-grid {tmp_path}/grid.yaml"
    assert run(f"{words} --workers 1") == 0
    rows = json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())
    assert sorted((row["system"], row["recipe"]) for row in rows) == [
        ("raw-linear", "g-k4"), ("token-bag", "g-k4"), ("token-bag", "g-k6"),
    ]  # fmt: skip


def test_predictions_are_joined_only_where_they_fit() -> None:
    one = Predictions(
        keys=["a", "b"], labels=["x"], scores_CL=np.zeros((2, 1), np.float32), targets_CL=np.ones((2, 1), bool)
    )
    with pytest.raises(ValueError, match="tested on the same clips"):
        Predictions.joined([one, one])
    other = Predictions(**{**vars(one), "keys": ["b", "c"]})
    with pytest.raises(ValueError, match="on other clips or labels"):
        other.in_order_of(one)
