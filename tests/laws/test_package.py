"""What is installed lies under one name, whole, and nothing of it stands at the top of somebody's environment."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sdist of the files that git tracks, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split("\0"):
        source, copy = ROOT / name, folder / "source" / name
        if name and (source.exists() or source.is_symlink()) and not name.startswith(("tests/", "benchmarks/")):
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                copy.symlink_to(source.readlink())
            else:
                copy.write_bytes(source.read_bytes())
    sdist = "import setuptools.build_meta as backend; backend.build_sdist('..')"
    subprocess.run([sys.executable, "-c", sdist], cwd=folder / "source", check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")  # of what it holds the wheel is made
    words = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", "."]
    subprocess.run([sys.executable, *words, archive.name], cwd=folder, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder / "installed")
    return folder / "installed"


def test_every_file_of_the_rooms_is_installed_under_the_one_name(installed: Path) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {n for n in tracked if n.startswith(("engine/", "shards/", "jobs/")) and (ROOT / n).is_file()}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {f"audio_tokens/{name}" for name in wanted} - found == set()
    assert {name.split("/")[0] for name in found} == {"audio_tokens", "audio_tokens-0.1.0.dist-info"}


def test_it_runs_from_an_empty_folder_and_the_rooms_have_no_other_name(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util, pathlib, sys, audio_tokens.jobs.cli as cli\n"
        f"assert pathlib.Path(cli.__file__).is_relative_to({str(installed)!r}), cli.__file__\n"
        "assert [n for n in ('engine', 'shards', 'jobs') if importlib.util.find_spec(n)] == []\n"
        "sys.exit(cli.main(['build', '--source', 'soundscapes:4,clip_s=1', '--out', 'shards', '--workers', '2']))"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "shards" / "dataset.json").is_file()
