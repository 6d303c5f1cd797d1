"""The short form of the campaign: a few kills, pairs and full disks of the commands that need no model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEW = "--kills 4 --pairs 1 --disks 1 --others 1 --commands cluster --attacks kill_-9,two_at_once,full_disk"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and /proc")
def test_no_fault_breaks_a_law() -> None:
    words = [sys.executable, "-m", "tests.faults", "--seed", "1", *(word.replace("_", " ") for word in FEW.split())]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "kill -9" in done.stdout
    assert "full disk" in done.stdout
