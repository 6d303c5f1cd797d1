"""The leaderboard is a pure function of the runs that lie in a work folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.jobs.artefacts import leaderboard
from audio_tokens.jobs.artefacts.predictions import Predictions


def put(folder: Path, number: float = 1, **changes: object) -> None:
    """Make a run of two clips; the one that has the label is scored with `number`, the other with 0."""
    result = {
        "system": folder.name,
        "seed": 0,
        "test_fold": None,
        "clips_train": 320,
        "clips_eval": 80,
        "mAP": 0.5,
        "mAUC": 0.75,
        "dprime": 0.95,
        "accuracy": None,
        "peak_val_mAP": 0.4,
        "parameters": 1000,
        "seconds": 10.0,
        "eval_place": "test",
    }
    folder.mkdir(parents=True)
    Predictions(
        keys=[f"{folder} a", f"{folder} b"],
        groups=["1", "2"],
        labels=["x"],
        scores_CL=np.array([[number], [0]], np.float32),
        targets_CL=np.array([[True], [False]]),
    ).save(folder / "predictions.npz")
    (folder / "result.json").write_text(json.dumps(result | changes))


def test_one_row_per_system_recipe_and_seed_best_first(tmp_path: Path) -> None:
    put(tmp_path / "default-0" / "token-bag", mAP=0.3)
    put(tmp_path / "default-0" / "token-bert", mAP=0.6)
    put(tmp_path / "default-1" / "token-bag", seed=1, mAP=0.4)
    put(tmp_path / "my-recipe-0" / "token-bag", mAP=0.5)
    (tmp_path / "default-0" / "codebook").mkdir()
    rows = leaderboard.publish(tmp_path)
    assert [(r["system"], r["recipe"], r["seed"]) for r in rows] == [
        ("token-bert", "default", 0),
        ("token-bag", "my-recipe", 0),
        ("token-bag", "default", 1),
        ("token-bag", "default", 0),
    ]
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == rows
    assert all(row["folds"] == [] for row in rows)


def test_folds_are_averaged_and_listed(tmp_path: Path) -> None:
    for fold, accuracy in ((1, 0.5), (2, 0.7), (10, 0.9)):
        run = tmp_path / "default-0" / f"fold-{fold}" / "token-bag"
        put(run, 3 - fold, test_fold=fold, accuracy=accuracy, mAP=accuracy / 2)
    (row,) = leaderboard.collect(tmp_path)
    assert row["accuracy"] == pytest.approx(0.7)
    assert row["mAP"] == pytest.approx(0.35)
    assert row["mAP_pooled"] == pytest.approx((1 + 1 + 3 / 6) / 3)  # ranked together: 2 1 0 0 0 -7, the last one true
    assert row["clips_eval"] == 240
    assert [fold["fold"] for fold in row["folds"]] == [1, 2, 10]
    assert row["folds"][0] == {"fold": 1, "accuracy": 0.5, "mAP": 0.25, "clips_eval": 80}


def test_the_table_shows_per_cent_and_dashes(tmp_path: Path) -> None:
    put(tmp_path / "default-0" / "token-bag", mAP=0.1234)
    text = leaderboard.table(leaderboard.collect(tmp_path))
    header, rule, line = text.splitlines()
    assert header.split()[:3] == ["system", "recipe", "seed"]
    assert set(rule) <= {"-", " "}
    assert line.split()[:4] == ["token-bag", "default", "0", "12.3"]
    assert line.split()[6] == "-"


def test_a_row_says_what_its_figures_are_to_be_taken_with(tmp_path: Path) -> None:
    put(tmp_path / "default-0" / "fold-1" / "token-bert", test_fold=1, eval_place="fold-1", leak="init")
    put(tmp_path / "default-0" / "fold-2" / "token-bert", test_fold=2, eval_place="fold-2", chosen_on="inner-val")
    put(tmp_path / "default-0" / "token-lstm", chosen_on="val", eval_place="val")
    put(tmp_path / "default-0" / "token-bag", chosen_on=None, leak=None)
    notes = {row["system"]: row["notes"] for row in leaderboard.collect(tmp_path)}
    assert notes == {
        "token-bert": ["leak: init"], "token-lstm": ["epoch chosen on the tested clips"], "token-bag": []
    }  # fmt: skip
