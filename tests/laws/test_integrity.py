"""One flipped bit or a torn end of any file is found and named, and so is a change anywhere up the chain."""

import json
import random
import shutil
from pathlib import Path

import pytest

from audio_tokens.jobs import cli
from audio_tokens.shards.integrity import INTEGRITY, add_file, read_integrity

KINDS = ("shards", "codebook", "tokens.zarr", "bag", "lstm", "body")
LOOSE = ("audio-tokens", "checkpoints")  # a tracker's, and what only a training needs


def files_of(artefact: Path) -> list[Path]:
    """Every file of an artefact, the resume state and the trackers' aside."""
    found = [path for path in sorted(artefact.rglob("*")) if path.is_file()]
    return [path for path in found if path.relative_to(artefact).parts[0] not in LOOSE]


def verified(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Return the exit code of verify and all that it said."""
    capsys.readouterr()
    code = cli.main(["verify", str(folder), *options])
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_artefact_passes_and_all_of_its_files_are_read(
    kind: str, artefacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = verified(artefacts / kind, capsys, "--deep")
    assert code == 0, said
    listed = read_integrity(artefacts / kind)
    names = {path.relative_to(artefacts / kind).as_posix() for path in files_of(artefacts / kind)}
    assert {*listed.files, *listed.added, INTEGRITY} == names
    assert len(names) >= 4


def campaign(
    kind: str, flips: int, cuts: int, artefacts: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damage a copy again and again; the file is drawn first, so that small ones are not spared."""
    shutil.copytree(artefacts / kind, folder)
    rng = random.Random(f"{kind}-{flips}")
    for number in range(flips + cuts):
        file = rng.choice([path for path in files_of(folder) if path.stat().st_size])
        whole = file.read_bytes()
        torn = bytearray(whole)
        if number < flips:
            torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
        else:
            del torn[rng.randrange(len(torn)) :]
        file.write_bytes(torn)
        code, said = verified(folder, capsys)
        assert code == 1, (file, number)
        assert str(file) in said, (file, number)
        assert "Traceback" not in said
        file.write_bytes(whole)
    assert verified(folder, capsys)[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_or_a_torn_end_is_found_and_its_file_named(
    kind: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign(kind, 6, 3, artefacts, tmp_path / kind, capsys)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_flipped_bits_and_twenty_torn_ends(
    kind: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign(kind, 100, 20, artefacts, tmp_path / kind, capsys)


def test_a_missing_file_and_a_missing_manifest_are_named(
    artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(artefacts / "codebook", tmp_path / "codebook")
    (tmp_path / "codebook" / "objective.csv").unlink()
    assert f"{tmp_path}/codebook/objective.csv: missing" in verified(tmp_path / "codebook", capsys)[1]
    (tmp_path / "codebook" / INTEGRITY).unlink()
    code, said = verified(tmp_path / "codebook", capsys)
    assert code == 1
    assert "integrity.json is missing" in said


def test_what_a_killed_addition_left_is_swept(artefacts: Path, tmp_path: Path) -> None:
    """Fault: an evaluation killed while it was written down left its half in the run for good."""
    shutil.copytree(artefacts / "bag", tmp_path / "bag")
    (tmp_path / "bag" / ".integrity.json.tmp-0123abcd").touch()
    add_file(tmp_path / "bag", "evaluation-val.json", b"{}")
    assert not (tmp_path / "bag" / ".integrity.json.tmp-0123abcd").exists()


def test_manifests_hold_no_path_no_host_and_no_time(artefacts: Path) -> None:
    for kind in KINDS:
        manifest = json.loads((artefacts / kind / INTEGRITY).read_text())
        assert set(manifest) == {"format", "version", "artefact", "parents", "files", "id", "added", "sha256"}
        assert not [name for name in manifest["files"] if name.startswith("/") or ".." in name]
        assert str(artefacts) not in json.dumps(manifest)


def test_the_lineage_of_a_run_reaches_the_listing(artefacts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["lineage", str(artefacts / "lstm")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "run",
        "tokens",
        "codebook",
        "shards",
        "listing",
        "shards",
        "listing",
    ]
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 6, 8, 4, 6]
    for line, kind in zip(lines, ("lstm", "tokens.zarr", "codebook", "shards"), strict=False):
        assert line.split()[1:] == [read_integrity(artefacts / kind).id, str(artefacts / kind)]
    assert lines[-1].endswith("soundscapes:60,clip_s=1")


@pytest.mark.parametrize("kind", ["bag", "tokens.zarr", "codebook", "shards"])
def test_a_changed_byte_anywhere_up_the_chain_breaks_it_by_name(
    kind: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "moved"
    for name in ("shards", "codebook", "tokens.zarr", "bag"):
        shutil.copytree(artefacts / name, work / name)
    assert cli.main(["lineage", str(work / "bag")]) == 0, "artefacts that moved together find each other"
    own = [path for path in files_of(work / kind) if path.name not in (INTEGRITY, "zarr.json")]
    file = next(path for path in own if path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    code, said = verified(work / "bag", capsys, "--deep")
    assert code == 1
    assert str(file) in said
    assert cli.main(["lineage", str(work / "bag")]) == 1
    assert str(file) in capsys.readouterr().out


def test_a_lost_parent_is_said_and_found_where_it_is_named(
    artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(artefacts / "bag", tmp_path / "a" / "b" / "c" / "d" / "e" / "bag")
    bag = next(tmp_path.rglob("bag"))
    code, said = verified(bag, capsys, "--deep")
    assert code == 1
    assert f"its tokens {read_integrity(artefacts / 'tokens.zarr').id} is not found" in said
    assert verified(bag, capsys, "--deep", "--within", str(artefacts))[0] == 0
    assert verified(bag, capsys)[0] == 0


def test_what_is_added_later_is_listed_and_leaves_the_id(artefacts: Path, tmp_path: Path) -> None:
    before = read_integrity(artefacts / "bag")
    assert list(before.added) == ["evaluation-test.json"]
    shutil.copytree(artefacts / "bag", tmp_path / "bag")
    add_file(tmp_path / "bag", "evaluation-val.json", b"{}")
    add_file(tmp_path / "bag", "evaluation-val.json", b"{ }")
    after = read_integrity(tmp_path / "bag")
    assert list(after.added) == ["evaluation-test.json", "evaluation-val.json"]
    assert after.id == before.id
    assert after.added["evaluation-val.json"].bytes == 3


def test_a_run_is_evaluated_from_any_folder_and_after_a_move(
    artefacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artefacts)
    words = "train --tokens tokens.zarr --system token-bag"
    assert cli.main([*words.split(), "--out", "relative"]) == 0
    monkeypatch.chdir(tmp_path)
    for name in ("relative", "tokens.zarr"):
        shutil.copytree(artefacts / name, tmp_path / "moved" / name)
    shutil.rmtree(artefacts / "relative")
    assert cli.main(f"evaluate --run {tmp_path}/moved/relative --split test --replicates 10".split()) == 0
