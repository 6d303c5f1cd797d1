"""Whatever a file holds, whoever opens it says what is wrong in one line; tests/faults/fuzz.py is the long form."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audio_tokens.errors import UserError
from tests.faults.nearly_right import lay_out
from tests.faults.openers import OPENERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("cases", [400, pytest.param(20_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_files_that_are_nearly_right(cases: int, artefacts: Path) -> None:
    """In a process of its own: the checks of annotations that tests run under are no part of what a user meets."""
    words = [sys.executable, "-m", "tests.faults.fuzz", str(artefacts), "--cases", str(cases), "--minutes", "8"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def json_with(file: Path, *path: str, value: object) -> None:
    """Put a value into a JSON file, under the last of some keys."""
    found = json.loads(file.read_bytes())
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(found))


def a_member_that_is_no_array(at: Path) -> None:
    with zipfile.ZipFile(at / "bag" / "predictions.npz", "a") as archive:
        archive.writestr("keys", b"no array")
    data = (at / "bag" / "predictions.npz").read_bytes()
    (at / "bag" / "predictions.npz").write_bytes(data.replace(b"keys.npy", b"keyz.npy"))


def an_index_whose_header_is_no_python(at: Path) -> None:
    for index in (at / "shards").glob("*.index.npy"):
        data = index.read_bytes()
        index.write_bytes(data.replace(b"}", b"("))


def an_array_of_a_length_in_halves(at: Path) -> None:
    for shard in (at / "shards").glob("*.tar"):
        shard.write_bytes(shard.read_bytes().replace(b"'shape': (44, 64)", b"'shape': (4., 64)"))


def a_label_with_a_line_of_its_own(at: Path) -> None:
    (at / "labels.csv").write_bytes(b"index,name\n0,a\rb\n")


# What once ended in a traceback: the opener, and the damage.
FOUND: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a member of predictions that is no array": ("run: predictions", a_member_that_is_no_array),
    "an index whose header is no Python": ("shards: an index", an_index_whose_header_is_no_python),
    "an array whose length is no whole number": ("shards: a tar", an_array_of_a_length_in_halves),
    "a fill value that fits no token": (
        "tokens: zarr.json",
        lambda at: json_with(at / "tokens.zarr" / "train" / "ids" / "zarr.json", "fill_value", value=-1),
    ),
    "a shape beyond every memory": (
        "tokens: zarr.json",
        lambda at: json_with(at / "tokens.zarr" / "train" / "ids" / "zarr.json", "shape", value=[10**15, 1]),
    ),
    "parts of a recipe that say nothing but a number": (
        "recipe",
        lambda at: (at / "recipe.yaml").write_text("systems:\ntrain:\ntop: 0\n") and None,
    ),
    "a line that csv does not take": ("labels", a_label_with_a_line_of_its_own),
    "slices that are no mapping": (
        "codebook: config.json",
        lambda at: json_with(at / "codebook" / "config.json", "slices", value=3),
    ),
    "a codebook without streams": (
        "codebook: config.json",
        lambda at: json_with(at / "codebook" / "config.json", "streams", value=0),
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name: str, artefacts: Path, tmp_path: Path) -> None:
    opener, damage = FOUND[name]
    lay_out(artefacts, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    damage(tmp_path)
    assert before != {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        OPENERS[opener].open(tmp_path / OPENERS[opener].of)
