"""Every command and snippet in the README runs as it is written, in its order, in one folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert found, f"the README has no {language} block left"
    return found


def test_the_commands_it_names_exist() -> None:
    named = {
        words.split()[1] for block in blocks("sh") for words in block.splitlines() if words.startswith("audio-tokens ")
    }
    assert len(named) >= 5
    assert named <= set(cli.COMMANDS)


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_every_snippet_runs(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "clip.wav", rng.uniform(-0.5, 0.5, 44100).astype(np.float32), 44100)
    environment = os.environ | {
        "ESC50": str(data_dir / "esc10"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for line in (line for block in blocks("sh") for line in block.splitlines() if line.strip()):
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    for snippet in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{snippet}\n{done.stderr[-3000:]}"
