"""What asks for more than any machine has is refused in one line, at once, and before anything is written."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.plain_yaml import MOST_VALUES, plain_yaml
from audio_tokens.shards.dataset.packing import MOST_BYTES, unpack

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
)
AT_ONCE_S = 30  # for what takes a second where nobody else is at work


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[str], str]:
    """Return what runs a line that must fail with one line, and returns that."""

    def run(words: str) -> str:
        capsys.readouterr()
        start = time.monotonic()
        assert cli.main(words.split()) == 2, words
        assert time.monotonic() - start < AT_ONCE_S
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(line) < 1000
        assert not (tmp_path / "out").exists()
        return line

    return run


@pytest.mark.parametrize("pattern", ["x{0..99999999}.tar", "{a,b}" * 24 + ".tar", "{" * 5000 + "}" * 5000])
def test_braces(pattern: str, refused: Callable[[str], str], tmp_path: Path) -> None:
    line = refused(f"build --source wds:{tmp_path}/{pattern} --out {tmp_path}/out")
    assert any(word in line for word in ("braces", "recursion", "File name too long"))


@pytest.mark.parametrize(
    "words",
    [
        "cluster --shards x --out OUT --recipe bomb.yaml",
        "cluster --shards x --out OUT --config bomb.yaml",
        "train --tokens x --system token-bag --out OUT --recipe bomb.yaml",
        "train --tokens x --system token-bag --out OUT --config bomb.yaml",
        "build --source soundscapes --out OUT --mel bomb.yaml",
        "sweep --source soundscapes --work OUT --recipe-grid bomb.yaml",
    ],
)
def test_aliases_of_aliases(words: str, refused: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    line = refused(words.replace("OUT", f"{tmp_path}/out").replace("bomb.yaml", f"{tmp_path}/bomb.yaml"))
    assert f"more than {MOST_VALUES:,} values" in line


def test_yaml_that_holds_itself_or_is_none() -> None:
    with pytest.raises(ValueError, match="holds itself"):
        plain_yaml("&a [*a]")
    for text in ("[" * 100_000, "a: 2024-99-99", "? {a: b}\n: c", "a: !!python/object:x {}", "\0", b"\xff\xfe\xff"):
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            plain_yaml(text)
    assert plain_yaml("x: &x [1, 2]\ny: *x\nz: [*x, *x]") == {"x": [1, 2], "y": [1, 2], "z": [[1, 2], [1, 2]]}


def test_a_grid_of_a_hundred_million_recipes(refused: Callable[[str], str], tmp_path: Path) -> None:
    choices = {f"c{number}": {} for number in range(10)}
    grid = {"name": "g", "systems": ["token-bag"], "seeds": [0], "axes": {f"a{n}": choices for n in range(8)}}
    (tmp_path / "grid.yaml").write_text(json.dumps(grid))
    line = refused(f"sweep --source soundscapes --work {tmp_path}/out --recipe-grid {tmp_path}/grid.yaml")
    assert "makes 100,000,000 recipes" in line


@pytest.mark.parametrize(("name", "value"), [("n_fft", 2**30), ("bands", 10**6), ("rate_hz", 10**12)])
def test_a_codebook_of_an_impossible_front_end(
    name: str, value: object, artefacts: Path, refused: Callable[[str], str], tmp_path: Path
) -> None:
    shutil.copytree(artefacts / "codebook", tmp_path / "codebook")
    config = json.loads((tmp_path / "codebook" / "config.json").read_bytes())
    config["mel"][name] = value
    config["mel"]["window_samples"] = config["mel"]["n_fft"]
    (tmp_path / "codebook" / "config.json").write_text(json.dumps(config))
    refused(f"encode --source soundscapes:4 --codebook {tmp_path}/codebook --out {tmp_path}/out")


def test_contexts_whose_covariance_fits_no_machine(
    artefacts: Path, refused: Callable[[str], str], tmp_path: Path
) -> None:
    words = f"cluster --shards {artefacts}/shards --out {tmp_path}/out --recipe.kmeans.clusters 20"
    assert "covariance alone would take 33 GB" in refused(f"{words} --recipe.slices.contexts 1000")
    refused(f"{words} --recipe.slices.contexts 1000000000")


def test_a_member_that_expands_without_end() -> None:
    compressor = zstandard.ZstdCompressor()
    member = compressor.compress(bytes(MOST_BYTES + 1))
    assert len(member) < 1 << 20
    with pytest.raises(UserError, match="at most 268,435,456 are read"):
        unpack(member, "mel.npy.zst")


@pytest.mark.parametrize("command", ["train", "quality"])
def test_a_hundred_thousand_labels(
    command: str, artefacts: Path, refused: Callable[[str], str], tmp_path: Path
) -> None:
    shutil.copytree(artefacts / "tokens.zarr", tmp_path / "tokens.zarr")
    root = tmp_path / "tokens.zarr" / "zarr.json"
    found = json.loads(root.read_bytes())
    found["attributes"]["labels"] += [f"more {number}" for number in range(100_000)]
    root.write_text(json.dumps(found))
    more = (
        "--system token-bag" if command == "train" else f"--shards {artefacts}/shards --codebook {artefacts}/codebook"
    )
    assert "at most 20,000 are told apart" in refused(
        f"{command} --tokens {tmp_path}/tokens.zarr --out {tmp_path}/out {more}"
    )


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", ".x", "a/b", "x" * 300, "a\nb"])
def test_a_recipe_never_leaves_the_work_folder(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["run", "--source", "soundscapes", "--work", f"{tmp_path}/work", "--recipe.name", name]
    assert cli.main(words) == 2
    assert "recipe.name is" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


WRONG = ["nan", "inf", "-inf", "-1", "1e400", "x", "[]", "1.5.2"]


@pytest.mark.parametrize("value", WRONG)
def test_numbers_that_are_none(value: str, artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every number that a command takes; what is not refused before anything is opened is refused by the data."""
    tokens, shards = f"--tokens {artefacts}/none", f"--shards {artefacts}/none"
    lines = [
        f"train {tokens} --system token-lstm --out OUT --options.{name} V"
        for name in (
            *("epochs", "width", "batch_clips", "learning_rate", "dropout", "weight_decay", "checkpoint_steps"),
        )
    ]
    lines += [f"pretrain {tokens} --out OUT --{name} V" for name in ("hide", "seed", "options.layers", "options.heads")]
    lines += [
        f"cluster {shards} --out OUT --recipe.{name} V"
        for name in (
            *("kmeans.clusters", "kmeans.tolerance", "slices.stride", "slices.contexts", "slices.whiten_variance"),
        )
    ]
    lines += [
        f"build --source soundscapes --out OUT --{name} V" for name in ("workers", "clip_timeout_s", "limit_clips")
    ]
    lines += [f"build --source soundscapes:{name} --out OUT" for name in ("V", "10,clip_s=V", "10,seed=V")]
    lines += [f"evaluate --run {artefacts}/none --split test --replicates V"]
    for words in lines:
        capsys.readouterr()
        code = cli.main(words.replace("OUT", f"{tmp_path}/out").replace("V", value).split())
        said = capsys.readouterr().err
        assert code == 2, words
        assert len([line for line in said.splitlines() if "error:" in line]) == 1, said
        assert not (tmp_path / "out").exists()


def test_one_value_that_is_not_finite(artefacts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In mel shards it is named by whoever reads it: a codebook or a model of nothing is never made."""
    shutil.copytree(artefacts / "shards", tmp_path / "shards")
    for file in (tmp_path / "shards").glob("*.tar"):
        data = bytearray(file.read_bytes())
        values = data.index(b"\n", data.index(b"\x93NUMPY")) + 1
        data[values : values + 2] = np.array(np.inf, np.float16).tobytes()
        file.write_bytes(data)
    for words in (
        f"cluster --shards {tmp_path}/shards --out {tmp_path}/out --recipe.kmeans.clusters 20",
        f"encode --shards {tmp_path}/shards --codebook {artefacts}/codebook --out {tmp_path}/out --workers 1",
        f"train --shards {tmp_path}/shards --system raw-linear --out {tmp_path}/out --options.epochs 1",
    ):
        capsys.readouterr()
        code = cli.main(words.split())
        said = capsys.readouterr().err
        assert code in (1, 2), words
        assert "not finite" in said, words
