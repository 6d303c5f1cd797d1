"""The table of systems: figures counted by hand, seeds averaged, the bag subtracted."""

from pathlib import Path

import numpy as np
import pytest

from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder
from benchmarks.studies.systems_table import gather, main, rows

CLASSES, CLIPS = 4, 40


def finished(work: Path, system: str, seed: int, wrong: int, folds: tuple[str, ...] = ("fold-1", "fold-2")) -> None:
    """Folds of clips, of each of which the first `wrong` are taken for the next class."""
    for fold in folds:
        true_C = np.arange(CLIPS) % CLASSES
        said_C = np.where(np.arange(CLIPS) < wrong, (true_C + 1) % CLASSES, true_C)
        run = RunFolder(work / f"some-{seed}" / fold / system)
        run.path.mkdir(parents=True)
        run.write_predictions(
            Predictions(
                keys=[f"{fold}-{clip}" for clip in range(CLIPS)],
                groups=[f"{fold}-{clip // 2}" for clip in range(CLIPS)],
                labels=list("abcd"),
                scores_CL=np.eye(CLASSES, dtype=np.float32)[said_C],
                targets_CL=np.eye(CLASSES, dtype=bool)[true_C],
            )
        )
        run.finish({})


def test_figures_are_those_counted_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, wrong in ((0, 4), (1, 8)):
        finished(tmp_path, "token-bert", seed, wrong)
        finished(tmp_path, "token-bag", seed, 2 * wrong)
    assert main([str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first.startswith("| `token-bert` | some | 85.0 [")
    assert "| 90.0 80.0 | 85.0 85.0 |" in first
    assert second.startswith("| `token-bag` | some | 70.0 [")
    assert "| +15.00 [" in first
    assert float(first.split()[-2]) < 0.05
    bert = gather([tmp_path])["some", "token-bert"]
    low, high = np.quantile(bert.mean_R["accuracy"], [0.025, 0.975])
    assert low < 0.85 < high
    assert 0.1 < high - low < 0.25  # one of the two seeds, drawn twice, is 0.1 from the other


def test_a_data_set_with_splits_is_one_part(tmp_path: Path) -> None:
    finished(tmp_path, "token-bag", 0, 4, folds=("",))
    assert gather([tmp_path])["some", "token-bag"].by_fold == pytest.approx([0.9])


def test_without_the_same_seeds_nothing_is_paired(tmp_path: Path) -> None:
    finished(tmp_path, "token-bert", 0, 4)
    finished(tmp_path, "token-bag", 1, 4)
    assert [row[-1] for row in rows(gather([tmp_path]))] == ["", ""]


def test_a_folder_without_runs_says_how_to_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "usage: python -m benchmarks.studies.systems_table" in capsys.readouterr().err
