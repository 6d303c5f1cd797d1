"""Whatever a file holds, whoever opens it says what is wrong in one line; tests/faults/fuzz.py is the long form."""

import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audio_tokens.engine.sound.ffmpeg_sound import DURATION
from audio_tokens.errors import UserError
from audio_tokens.shards.sources.registry import open_source
from audio_tokens.shards.tasks.commit import Records
from audio_tokens.shards.tasks.task import run_task
from audio_tokens.shards.tasks.task_folder import is_recorded, prepare
from tests.faults.nearly_right import lay_out
from tests.faults.openers import OPENERS, spoil
from tests.shards.tasks.toy_build import listed, toy_tasks

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


def a_table_whose_headers_are_no_python(at: Path) -> None:
    table = at / "shards" / "clips.npz"
    table.write_bytes(table.read_bytes().replace(b"}", b"("))


def a_table_whose_members_lie_before_it(at: Path) -> None:
    """The last 6 bytes of a zip say where its directory begins and how long a comment is."""
    table = at / "shards" / "clips.npz"
    data = bytearray(table.read_bytes())
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 5000).to_bytes(4, "little")
    table.write_bytes(data)


def an_array_of_a_length_in_halves(at: Path) -> None:
    for shard in (at / "shards").glob("*.tar"):
        shard.write_bytes(shard.read_bytes().replace(b"'shape': (44, 64)", b"'shape': (4., 64)"))


def a_label_with_a_line_of_its_own(at: Path) -> None:
    (at / "labels.csv").write_bytes(b"index,name\n0,a\rb\n")


def filled(file: Path, data: bytes) -> None:
    file.write_bytes(data)


def replaced(file: Path, old: bytes, new: bytes) -> None:
    file.write_bytes(file.read_bytes().replace(old, new, 1))


def renamed(manifest: Path, name: str) -> None:
    first = json.loads(manifest.read_bytes())["shards"][0]["name"]
    replaced(manifest, first.encode(), name.encode())


def cut(model: Path) -> None:
    filled(model / "model.safetensors", (model / "model.safetensors").read_bytes()[:-1])


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    filled(file, bytes(data))


# What once ended in a traceback: the opener, and the damage.
FOUND: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a member of predictions that is no array": ("run: predictions", a_member_that_is_no_array),
    "a table whose headers are no Python": ("shards: the table of clips", a_table_whose_headers_are_no_python),
    "a table whose members lie before it": ("shards: the table of clips", a_table_whose_members_lie_before_it),
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
    "weights to start from that end too early": ("pre-trained weights", lambda at: cut(at / "body" / "model")),
    "a front end that is no JSON": (
        "model: front end",
        lambda at: replaced(at / "model" / "front_end.json", b"{", b"["),
    ),
    "a front end that is a list": ("model: front end", lambda at: filled(at / "model" / "front_end.json", b"[]")),
    "alternatives that are a word": (
        "model: config.json",
        lambda at: json_with(at / "model" / "config.json", "alternatives", value="x"),
    ),
    "a model whose one label a clip is a number": (
        "report: the model",
        lambda at: (
            [
                json_with(at / "work" / "default-0" / run / "model" / "config.json", "single_label", value=3)
                for run in ("bag", "lstm")
            ]
            and None
        ),
    ),
    "an epoch that is no number": (
        "report: curves",
        lambda at: replaced(at / "work" / "default-0" / "lstm" / "metrics.csv", b"\n1,", b"\nTrue,"),
    ),
    "rejects that are no objects": ("report: rejects", lambda at: filled(at / "work/shards/rejects.jsonl", b"1\n")),
    "rejects without reasons": (
        "report: rejects",
        lambda at: filled(at / "work/shards/rejects.jsonl", b'{"id": "a"}\n'),
    ),
    "a packed manifest that does not unpack": ("packed manifest", lambda at: flipped(at / "list.jsonl.gz")),
    "keys of a subset that are no text": ("keys of a subset", lambda at: filled(at / "subset.keys", b"\xff\n")),
    **{
        f"a shard whose name is {word}": (
            "shards: dataset.json",
            lambda at, name=name: renamed(at / "shards" / "dataset.json", name),  # type: ignore[misc]
        )
        for word, name in {
            "too long": "x" * 300,
            "that of its folder": ".",
            "no name": "",
            "cut by a zero": r"a\u0000b",
        }.items()
    },
    "a manifest of shards that is nested without end": (
        "shards: dataset.json",
        lambda at: filled(at / "shards" / "dataset.json", b"[" * 10_000),
    ),
}


@pytest.fixture(scope="module")
def laid_out(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nearly-right")
    lay_out(artefacts, folder)
    return folder


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found(name: str, laid_out: Path, tmp_path: Path) -> None:
    opener, damage = FOUND[name]
    shutil.copytree(laid_out, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    damage(tmp_path)
    assert before != {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        OPENERS[opener].open(tmp_path / OPENERS[opener].of)


def test_the_reasons_of_libraries_are_made_one_line() -> None:
    assert str(UserError("x is damaged: no type\n at 3\r\nor 4")) == "x is damaged: no type  at 3 or 4"


def test_parquet_of_a_kind_that_is_not_known_is_told(laid_out: Path, tmp_path: Path) -> None:
    shutil.copytree(laid_out, tmp_path, dirs_exist_ok=True)
    for seed in ("hf: parquet:3:123", "hf: parquet:0:2", "audioset: parquet:0:1"):
        name = seed.rpartition(":")[0].rpartition(":")[0]
        error = spoil(OPENERS[name], tmp_path, random.Random(seed))[2]
        assert isinstance(error, UserError)
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("tag", ["00:00:00.37800000e", "a:b:c", "::", "-1:00:03", "99999999999:0:0"])
def test_a_length_that_is_none_promises_nothing(tag: str) -> None:
    assert not DURATION.fullmatch(tag)


def test_a_name_that_is_too_long_is_its_clip_s_alone(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,labels\n{'x' * 5000}  ,dog\n")
    assert [task.clips for task in open_source(f"csv:{tmp_path}/list.csv").tasks()] == [1]


def test_a_record_of_which_a_bit_flips_is_made_again(tmp_path: Path) -> None:
    """Labels of clips or reasons of rejects would be others otherwise, and nobody would tell."""
    tasks = toy_tasks(tmp_path)
    prepare(tasks, listed(tasks), force=False)
    (index, task), *_ = listed(tasks)
    run_task(tasks, index, task)
    whole = tasks.record_file(index).read_bytes()
    for place in range(0, len(whole), 97):
        tasks.record_file(index).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(UserError, match="is damaged"):
            list(Records(tasks, [index]))
        assert not is_recorded(tasks, index)
        assert not tasks.record_file(index).exists()
