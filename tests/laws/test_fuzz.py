"""Whatever a file holds, whoever opens it says what is wrong in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("cases", [400, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_files_that_are_nearly_right(cases: int, artefacts: Path) -> None:
    """In a process of its own: the checks of annotations that tests run under are no part of what a user meets."""
    words = [sys.executable, "-m", "tests.faults.fuzz", str(artefacts), "--cases", str(cases), "--minutes", "20"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
