"""The rules of the house: who may import whom, and what a file may be called."""

import ast
import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"engine": {"engine"}, "shards": {"shards"}, "jobs": {"engine", "shards", "jobs"}}
OURS = {"engine", "shards", "jobs", "benchmarks", "tests"}


def python_files(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert len(files) >= 5, f"{room}/ holds only {len(files)} files: is the guard looking in the right place?"
    return files


def imported_modules(file: Path) -> list[str]:
    """Every module a file imports, wherever in the file it does so."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.relative_to(ROOT)}:{node.lineno}: a relative import hides its room"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    trespasses = [
        f"{file.relative_to(ROOT)} imports {module}"
        for file in python_files(room)
        for module in imported_modules(file)
        if module.split(".")[0] in OURS - ROOMS[room]
    ]
    assert trespasses == []


@pytest.mark.parametrize("room", ROOMS)
def test_files_of_a_room_import_each_other_in_no_circle(room: str) -> None:
    files = {
        ".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in python_files(room)
    }
    uses: dict[str, set[str]] = {}
    for module, file in files.items():
        names = imported_modules(file)
        uses[module] = {n for name in names for n in (name, name.rpartition(".")[0]) if n in files} - {module}
        # `from shards.sources.x import y` names x, not the package that x lies in
        uses[module] = {n for n in uses[module] if not any(other.startswith(f"{n}.") for other in uses[module])}
    free: list[str] = []
    while ground := [module for module, below in uses.items() if module not in free and below <= set(free)]:
        free += ground
    assert sorted(set(uses) - set(free)) == []


def test_no_job_bears_the_name_of_an_importable_module() -> None:
    """`python jobs/train.py` puts jobs/ first on the path: a jobs/tokenize.py would stand in for the library's own."""
    elsewhere = [p for p in sys.path if p and Path(p).resolve() not in (ROOT, ROOT / "jobs")]
    stems = [file.stem for room in ROOMS for file in python_files(room) if file.stem != "__init__"]
    taken = [s for s in stems if s in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(s, elsewhere)]
    assert taken == []


def test_no_utils() -> None:
    names = [
        p for room in ROOMS for p in python_files(room) if p.stem in ("utils", "util", "helpers", "common", "misc")
    ]
    assert names == []


ORDERS = [
    ("torch", "torchaudio", "faiss", "transformers"),
    ("faiss", "torch", "torchaudio", "transformers"),
    ("transformers", "faiss", "torchaudio", "torch"),
    ("torchaudio", "transformers", "torch", "faiss"),
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_heavy_libraries_import_and_work_in_any_order(order: tuple[str, ...]) -> None:
    """torchaudio 2.11 refuses a torch of another build, and transformers then fails too; faiss brings its own CUDA."""
    code = "; ".join(f"import {name}" for name in order) + (
        "; import numpy; index = faiss.IndexFlatIP(8); index.add(numpy.eye(8, dtype='float32'))"
        "; assert index.search(numpy.eye(8, dtype='float32'), 1)[1].ravel().tolist() == list(range(8))"
        "; assert torchaudio.functional.melscale_fbanks(513, 0.0, 11025.0, 64, 22050).shape == (513, 64)"
        "; transformers.BertModel"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_top_level_is_the_one_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    assert top <= {
        "engine", "shards", "jobs", "tests", "benchmarks", "pyproject.toml", "README.md", "Makefile", "LICENSE",
        "NOTICE", "CHANGELOG.md", "requirements.lock",
    }  # fmt: skip
    large = [name for name in tracked if (ROOT / name).is_file() and (ROOT / name).stat().st_size > 500_000]
    assert large == []


def test_the_lock_pins_hashes_and_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "torch==2.11.0" in lock
    assert "torchaudio==2.11.0" in lock
    assert "://" not in lock
    pins = [line for line in lock.splitlines() if "==" in line and not line.startswith(" ")]
    assert len(pins) > 50
    assert lock.count("--hash=sha256:") >= len(pins)
