"""The rules of the house: who may import whom, and what a file may be called."""

import ast
import builtins
import importlib.machinery
import subprocess
import symtable
import sys
from pathlib import Path

import pytest

from audio_tokens.jobs.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PACKAGE = "audio_tokens"
ROOMS = ("engine", "shards", "jobs")
# Each place (a folder, or a file at the top of a room) and the other places of its own room that it may import.
# `jobs` may import all of `engine` and `shards` besides; those two import neither each other nor `jobs`.
SHARED = ("errors", "interrupts", "seeds")  # the files of `audio_tokens/` itself: what every room needs
MAY_IMPORT = {
    "engine/world": "",
    "engine/lanes": "world",
    "engine/ranges": "",
    "engine/train_config": "ranges",
    "engine/sound": "ranges sound/containers",
    "engine/sound/containers": "",
    "engine/state_digest": "",
    "engine/codebook": "world lanes ranges state_digest sound codebook/nearest codebook/kmeans",
    "engine/codebook/nearest": "",
    "engine/codebook/kmeans": "world lanes ranges codebook/nearest",
    "engine/clips": "codebook",
    "engine/scores": "",
    "engine/systems": "ranges train_config codebook clips",
    "engine/systems/tagging": "sound codebook clips systems",
    "engine/training": "world state_digest train_config clips scores systems",
    "shards/publish": "",
    "shards/integrity": "publish sources/addresses",
    "shards/labels": "",
    "shards/subset": "",
    "shards/plan": "",
    "shards/sources/addresses": "",
    "shards/sources": "publish labels subset sources/addresses",
    "shards/sources/audioset": "publish labels subset sources",
    "shards/sources/soundscapes": "publish labels subset sources",
    "shards/sources/wds": "publish labels subset sources",
    "shards/dataset": "publish integrity labels sources/addresses",
    "shards/workers": "publish",
    "shards/tasks": "publish integrity plan sources dataset workers",
    "shards/tokens": "publish integrity dataset",
    "jobs/recipes": "",
    "jobs/plain_yaml": "",
    "jobs/typed": "",
    "jobs/training_recipe": "typed",
    "jobs/recipe": "training_recipe",
    "jobs/bill": "",
    "jobs/command": "plain_yaml typed training_recipe recipes display",
    "jobs/display": "",
    "jobs/display/report": "display",
    "jobs/inputs": "plain_yaml training_recipe recipe display",
    "jobs/artefacts": "plain_yaml recipe display inputs",
    "jobs/artefacts/report": "display display/report inputs artefacts",
}
COMMANDS_IMPORT = (
    "training_recipe recipe command display display/report inputs artefacts artefacts/report bill"  # and each other
)


def python_files(room: str) -> list[Path]:
    files = sorted((ROOT / room).rglob("*.py"))
    assert len(files) >= 5, f"{room}/ holds only {len(files)} files: is the guard looking in the right place?"
    return files


def imported_modules(file: Path) -> list[str]:
    """Every module of the package that a file imports, wherever in the file it does so, without the package's name."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import hides its room"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in (*ROOMS, "benchmarks", "tests"), f"{file} imports {name}"
            modules += [name.removeprefix(f"{PACKAGE}.")] if name.startswith(f"{PACKAGE}.") else []
    return modules


def place_of(module: str) -> str:
    """Return the place that a module (`engine.sound.decode`, or a name in it) lies in."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if (place := "/".join(parts[:length])) in MAY_IMPORT:
            return place
    return "/".join(parts[:2])


def trespasses(room: str, files: dict[Path, str]) -> list[str]:
    """Return what the files, each with the module it is, import though they may not."""
    found = []
    for file, module in files.items():
        place = place_of(module)
        commands = place not in MAY_IMPORT  # a command's file, at the top of `jobs`
        allowed = {f"{room}/{name}" for name in MAY_IMPORT.get(place, COMMANDS_IMPORT).split()} | {place}
        for name in imported_modules(file):
            if name.split(".")[0] in SHARED:
                continue
            other = place_of(name)
            if other.split("/")[0] != room:
                fine = room == "jobs" and other in MAY_IMPORT
            else:
                fine = other in allowed or (commands and other not in MAY_IMPORT)
            if not fine:
                found.append(f"{module} imports {name}")
    return found


def modules_of(room: str) -> dict[Path, str]:
    return {f: ".".join(f.relative_to(ROOT).with_suffix("").parts) for f in python_files(room)}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    assert trespasses(room, {file: name for file, name in modules_of(room).items() if file.stem != "__init__"}) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine.sound.planted", "from audio_tokens.engine.codebook.slices import SliceConfig"),
        ("engine.world", "from audio_tokens.engine.lanes import Lanes"),
        ("engine.scores.planted", "def f():\n    import audio_tokens.shards.publish"),
        ("shards.tokens.planted", "from audio_tokens.shards.tasks.task_set import TaskSet"),
        ("shards.publish", "from audio_tokens.jobs import command"),
        ("jobs.display.planted", "from audio_tokens.jobs.artefacts import run_folder"),
        ("jobs.inputs.planted", "from audio_tokens.jobs.train import train"),
    ],
)
def test_a_forbidden_import_is_found(module: str, line: str, tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(line + "\n")
    assert len(trespasses(module.split(".")[0], {planted: module})) == 1


def test_rooms_are_imported_by_their_one_name(tmp_path: Path) -> None:
    """Two names of one file would be two copies of its classes: `engine.x` and `audio_tokens.engine.x`."""
    planted = tmp_path / "planted.py"
    planted.write_text("from engine.seeds import generator\n")
    with pytest.raises(AssertionError, match=r"imports engine\.seeds"):
        imported_modules(planted)
    for file in [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            name = node.module if isinstance(node, ast.ImportFrom) else None
            assert (name or "").split(".")[0] not in ROOMS, f"{file} imports {name}"


def test_what_all_rooms_share_needs_none_of_them() -> None:
    for name in SHARED:
        modules = imported_modules(ROOT / PACKAGE / f"{name}.py")
        assert [module for module in modules if module.split(".")[0] not in SHARED] == []


def test_every_place_is_there_and_every_folder_has_its_rule() -> None:
    places = {place for place in MAY_IMPORT if not ((ROOT / place).is_dir() or (ROOT / f"{place}.py").is_file())}
    assert places == set()
    folders = {f.parent.relative_to(ROOT).as_posix() for room in ROOMS for f in python_files(room)} - set(ROOMS)
    assert folders - set(MAY_IMPORT) == set()


def test_a_folder_is_taken_in_at_a_glance() -> None:
    """At most 14 files a folder, systems excepted, and 12 entries at the top of a room, commands excepted."""
    for folder in MAY_IMPORT:
        if (ROOT / folder).is_dir() and folder != "engine/systems":
            files = [f for f in (ROOT / folder).iterdir() if f.is_file() and f.name != "__init__.py"]
            assert len(files) <= 14, f"{folder} holds {len(files)} files"
    for room in ROOMS:
        found = [entry for entry in (ROOT / room).iterdir() if entry.is_file() or list(entry.glob("*.*"))]
        entries = {entry.name for entry in found if entry.name != "__pycache__"}
        if room == "jobs":
            entries -= {f"{name.replace('-', '_')}.py" for name in (*COMMANDS, "audioset-labels")}
        assert len(entries) <= 12, f"{room}/ shows {sorted(entries)}"


def test_packages_begin_empty() -> None:
    """Importing a folder costs nothing and runs nothing: what it holds is named by its files."""
    filled = [f for room in ROOMS for f in python_files(room) if f.name == "__init__.py" and f.stat().st_size]
    assert filled == []


@pytest.mark.parametrize("room", ROOMS)
def test_files_of_a_room_import_each_other_in_no_circle(room: str) -> None:
    files = {name.removesuffix(".__init__"): file for file, name in modules_of(room).items()}
    uses: dict[str, set[str]] = {}
    for module, file in files.items():
        names = imported_modules(file)
        uses[module] = {n for name in names for n in (name, name.rpartition(".")[0]) if n in files} - {module}
        # `from x.sources.y import z` names y, not the package that y lies in
        uses[module] = {n for n in uses[module] if not any(other.startswith(f"{n}.") for other in uses[module])}
    free: list[str] = []
    while ground := [module for module, below in uses.items() if module not in free and below <= set(free)]:
        free += ground
    assert sorted(set(uses) - set(free)) == []


def test_no_job_bears_the_name_of_an_importable_module() -> None:
    """`python jobs/train.py` puts jobs/ first on the path: a jobs/tokenize.py would stand in for the library's own."""
    ours = (ROOT, ROOT / "jobs", *(ROOT / "tests").rglob(""))  # pytest puts folders of tests on the path
    elsewhere = [p for p in sys.path if p and Path(p).resolve() not in ours]
    stems = [file.stem for room in ROOMS for file in python_files(room) if file.stem != "__init__"]
    taken = [s for s in stems if s in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(s, elsewhere)]
    assert taken == []


def undefined(source: str) -> list[str]:
    """Return the names that a module's code reads and nobody defines; what stands in annotation strings is no code."""
    top = symtable.symtable(source, "", "exec")
    known = {name.get_name() for name in top.get_symbols() if name.is_assigned() or name.is_imported()}
    known |= set(dir(builtins)) | {"__file__", "__name__", "__path__", "__doc__"}
    found, scopes = [], [top]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        names = [name.get_name() for name in scope.get_symbols() if name.is_global() and name.is_referenced()]
        found += [name for name in names if name not in known]
    return found


def test_every_name_is_defined() -> None:
    """Type checker and linter do not look: to them jaxtyping's axis names ("T F") are names as well."""
    assert undefined("import os\ndef f(x: 'T F'):\n    return os.sep + planted + str(x)") == ["planted"]
    folders = (*ROOMS, "benchmarks", "tests")
    assert {
        file: names for folder in folders for file in python_files(folder) if (names := undefined(file.read_text()))
    } == {}


def test_no_utils() -> None:
    names = [
        p for room in ROOMS for p in python_files(room) if p.stem in ("utils", "util", "helpers", "common", "misc")
    ]
    assert names == []


ORDERS = [
    ("faiss", "torch", "torchaudio", "transformers"),
    ("torch", "torchaudio", "faiss", "transformers"),
    ("transformers", "faiss", "torchaudio", "torch"),
    ("torchaudio", "transformers", "torch", "faiss"),
]


@pytest.mark.long
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
        "audio_tokens", "engine", "shards", "jobs", "tests", "benchmarks", "docs", "pyproject.toml", "README.md",
        "Makefile", "LICENSE", "NOTICE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "requirements.lock",
        "Containerfile", "Containerfile.gpu",
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
