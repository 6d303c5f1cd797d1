"""Nothing of anyone else's is replaced, moved or removed, with --force or without; and two at once never mix."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audio_tokens.jobs import cli
from audio_tokens.shards.publish import target_lock

ROOT = Path(__file__).parents[2]
QUICK = "--recipe.kmeans.clusters 20"
# Each command, all but its --out, and one of its inputs; AT is the folder with the artefacts.
COMMANDS = {
    "build": ("build --source csv:AT/sounds/list.csv --workers 1", "sounds/list.csv"),
    "cluster": (f"cluster --shards AT/shards {QUICK}", "shards"),
    "encode": ("encode --shards AT/shards --codebook AT/codebook --workers 1", "codebook"),
    "train": ("train --tokens AT/tokens.zarr --system token-bag", "tokens.zarr"),
    "pretrain": ("pretrain --tokens AT/tokens.zarr --options.epochs 1", "tokens.zarr"),
    "quality": ("quality --shards AT/shards --codebook AT/codebook --tokens AT/tokens.zarr", "shards"),
    "export": ("export --tokens AT/tokens.zarr", "tokens.zarr"),
}


@pytest.fixture(scope="module")
def at(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artefacts and a list of sounds, whose every byte must stay."""
    at = tmp_path_factory.mktemp("outputs")
    for name in ("shards", "codebook", "tokens.zarr", "bag"):
        shutil.copytree(artefacts / name, at / name)
    (at / "sounds").mkdir()
    (at / "sounds" / "list.csv").write_text("path,labels,split\nmissing.wav,a,train\n")
    return at


def thesis(folder: Path, at: Path) -> Path:
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.tex").write_text("ten years")
    return folder / "precious"


def file(folder: Path, at: Path) -> Path:
    (folder / "file").write_text("ten years")
    return folder / "file"


def link(folder: Path, at: Path) -> Path:
    (folder / "link").symlink_to(thesis(folder, at))
    return folder / "link"


def run_of_others(folder: Path, at: Path) -> Path:
    (folder / "theirs" / "model").mkdir(parents=True)
    (folder / "theirs" / "config.yaml").write_text("learning_rate: 1\n")
    (folder / "theirs" / "model" / "weights.bin").write_text("ten days")
    return folder / "theirs"


TARGETS: dict[str, Callable[[Path, Path], Path] | None] = {
    "a thesis": thesis,
    "a file": file,
    "a link": link,
    "a run of another program": run_of_others,
    "an input": None,
    "around an input": lambda folder, at: at,
    "inside an input": lambda folder, at: at / "shards" / "new",
}


def contents(folder: Path) -> dict[str, bytes | str]:
    found = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else str(path.lstat().st_mode) for path in found}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", COMMANDS)
def test_force_touches_nothing_foreign(
    name: str, target: str, at: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, given = COMMANDS[name]
    make = TARGETS[target]
    out = at / given if make is None else make(tmp_path, at)
    if target == "inside an input" and "AT/shards" not in words:
        out = at / given / "new"
    before = contents(at), contents(tmp_path)
    for force in ([], ["--force"]):
        capsys.readouterr()
        assert cli.main([*words.replace("AT", str(at)).split(), "--out", str(out), *force]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert str(out) in line
        assert (contents(at), contents(tmp_path)) == before


@pytest.mark.parametrize("name", ["cluster", "encode", "export", "quality"])
def test_a_strangers_file_inside_an_artefact_is_named_and_kept(
    name: str, at: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*COMMANDS[name][0].replace("AT", str(at)).split(), "--out", str(tmp_path / "out")]
    assert cli.main(words) == 0
    assert cli.main(words) == 0, "the same command again changes nothing"
    assert cli.main([*words, "--force"]) == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    capsys.readouterr()
    assert cli.main([*words, "--force"]) == 2
    assert "holds notes.txt" in capsys.readouterr().err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_damaged_artefact_is_still_ones_own(at: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"cluster --shards {at}/shards {QUICK} --out {tmp_path}/codebook".split()
    shutil.copytree(at / "codebook", tmp_path / "codebook")
    (tmp_path / "codebook" / "config.json").write_text("{")
    assert cli.main(words) == 2
    assert "that is damaged; --force replaces it" in capsys.readouterr().err
    assert cli.main([*words, "--force"]) == 0
    assert cli.main(["verify", f"{tmp_path}/codebook"]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_run_on_one_target_says_who_is_at_work(
    name: str, at: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with target_lock(tmp_path / "out"):
        monkeypatch.setattr("audio_tokens.shards.publish._held", {})  # as another process sees it
        words = [*COMMANDS[name][0].replace("AT", str(at)).split(), "--out", str(tmp_path / "out")]
        assert cli.main(words) == 2
        assert "out is being written by process" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
        monkeypatch.undo()


def test_two_encodings_at_once_leave_one_whole_store(at: Path, tmp_path: Path) -> None:
    """Fault: the second swept the folder that the first was packing, and both said that all was well."""
    words = f"encode --shards {at}/shards --codebook {at}/codebook --workers 1 --out {tmp_path}/t.zarr".split()
    command = [sys.executable, "-m", "audio_tokens.jobs.cli", *words]
    pair = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in pair]
    codes = sorted(process.returncode for process in pair)
    assert codes in ([0, 0], [0, 2]), said  # one after the other, or one refused
    assert "Traceback" not in "".join(said)
    assert cli.main(["verify", f"{tmp_path}/t.zarr", "--deep", "--within", str(at)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["t.zarr"]
