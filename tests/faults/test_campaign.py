"""The short form of the campaign: a few kills, pairs and full disks of the commands that need no model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEW = "--kills 6 --pairs 2 --disks 2 --others 1 --commands cluster,export"


@pytest.mark.skipif(not hasattr(sys, "addaudithook") or not sys.platform.startswith("linux"), reason="forks and /proc")
def test_no_fault_breaks_a_law() -> None:
    words = [sys.executable, "-m", "tests.faults", "--seed", "1", *FEW.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "kill -9" in done.stdout
    assert "full disk" in done.stdout
