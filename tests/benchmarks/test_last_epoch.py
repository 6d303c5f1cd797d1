"""Training on a run's stored folds to the last epoch: every clip is tested once, beside the run's own bag."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from benchmarks.studies.last_epoch import main, predictions
from benchmarks.studies.systems_table import gather, rows

FOLDS, CLIPS = (1, 2), 24


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run of token-bag on tones and noise, in two folds."""
    work, rng = tmp_path_factory.mktemp("folds"), np.random.default_rng(0)
    lines = ["path,labels,fold"]
    for clip in range(CLIPS):
        tone_S = np.sin(2 * np.pi * (400 + 10 * clip) * np.arange(8000) / 16000)
        wave_S = tone_S if clip % 2 else rng.uniform(-1, 1, 8000)
        soundfile.write(work / f"{clip}.wav", (0.3 * wave_S).astype(np.float32), 16000)
        lines.append(f"{clip}.wav,{'tone' if clip % 2 else 'noise'},{clip // 2 % 2 + 1}")
    (work / "list.csv").write_text("\n".join(lines) + "\n")
    words = f"run --source csv:{work}/list.csv --folds --systems token-bag --work {work}/w --workers 1"
    assert cli.main([*words.split(), "--recipe.kmeans.clusters", "8"]) == 0
    return work / "w"


def test_every_clip_is_tested_once_by_what_has_not_learnt_from_it(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"--work {work} --run default-0 --system token-linear".split()
    assert main(words) == 0
    said = capsys.readouterr().out
    tested = [predictions(work / "default-0" / f"fold-{fold}", "token-linear", "default", 0) for fold in FOLDS]
    assert len({key for part in tested for key in part.keys}) == sum(len(part.keys) for part in tested) == CLIPS
    for fold, part in zip(FOLDS, tested, strict=True):
        bag = RunFolder(work / "default-0" / f"fold-{fold}" / "token-bag").predictions()
        assert (part.keys, part.groups, part.labels) == (bag.keys, bag.groups, bag.labels)
        assert np.array_equal(part.targets_CL, bag.targets_CL)
        assert (part.scores_CL.argmax(axis=1) == part.targets_CL.argmax(axis=1)).all(), "a tone is no noise"
    (bag_row,) = rows(gather([work]))
    assert f"| {' | '.join(bag_row)} |" in said.splitlines()
    assert any(line.startswith("| `token-linear` | default | 100.0") for line in said.splitlines())


def test_a_fold_that_has_predictions_is_not_trained_again(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = work / "default-0" / "fold-1"
    first = predictions(fold, "token-linear", "default", 0)
    capsys.readouterr()
    again = predictions(fold, "token-linear", "default", 0)
    assert "epoch" not in capsys.readouterr().out
    assert np.array_equal(first.scores_CL, again.scores_CL)
