"""Every command and snippet of the README and the pages beside it runs as it is written, in their order, in one folder;
every message that is explained is one that the code has."""

import ast
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
PAGES = [
    "README.md",
    *(f"docs/{page}.md" for page in ("pipeline", "sources", "systems", "recipes", "scaling", "python")),
]


def blocks(*languages: str) -> list[tuple[str, str]]:
    """Return the blocks of the pages in their order, each with its language."""
    text = "\n".join((ROOT / page).read_text() for page in PAGES)
    found = re.findall(rf"^```({'|'.join(languages)})\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    assert {language for language, _ in found} == set(languages)
    return found


def test_the_commands_they_name_exist() -> None:
    lines = [line for _, block in blocks("sh", "text") for line in block.splitlines()]
    named = {line.split()[1] for line in lines if line.startswith("audio-tokens ")}
    assert len(named) >= 15
    assert named <= set(cli.COMMANDS)


def test_every_command_has_its_options_printed() -> None:
    printed = re.findall(r"^```\{help\} (\S+)", (ROOT / "docs/commands.md").read_text(), flags=re.MULTILINE)
    assert sorted(printed) == sorted(cli.COMMANDS)


def test_every_message_that_is_explained_exists() -> None:
    """A row's messages are cut at `...`, which stands for what a message names; each piece is one of the code's."""
    files = [file for room in ("audio_tokens", "engine", "shards", "jobs") for file in (ROOT / room).rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    code = "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    code = code.replace("`", "")
    rows = re.findall(r"^\| (`.*?) \| ", (ROOT / "docs/troubleshooting.md").read_text(), flags=re.MULTILINE)
    messages = [message for row in rows for message in re.findall(r"`(.+?)`", row)]
    assert len(messages) > 50
    of_others = ("command not found", "no such file or directory")  # the shell's, the system's
    pieces = [
        piece.strip() for message in messages if not message.endswith(of_others) for piece in message.split("...")
    ]
    assert [piece for piece in pieces if piece not in code] == []


@pytest.mark.long
@pytest.mark.timeout(2700)
def test_every_snippet_runs(tmp_path: Path, data_dir: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "clip.wav", rng.uniform(-0.5, 0.5, 44100).astype(np.float32), 44100)
    environment = os.environ | {
        "ESC50": str(data_dir / "esc10"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for language, block in blocks("sh", "python"):
        for words in block.splitlines() if language == "sh" else [block]:
            program = ["bash", "-c"] if language == "sh" else [sys.executable, "-c"]
            done = subprocess.run(
                [*program, words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{words}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
