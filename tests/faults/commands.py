"""The commands under attack, on a handful of half-second sounds, and what each of them must leave in the end.

AT is the folder with what they read, IN the folder of a round, which they write into.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.faults.forks import run

TINY = "--options.epochs 2 --options.width 8 --options.batch_clips 8 --options.checkpoint_steps 2"
SOUNDS, BROKEN = 36, 3  # of which so many are to be rejected
LOOSE = ("audio-tokens", "checkpoints")  # a tracker's, and what only a training needs
TIMES = ("seconds", "seconds_data")


@dataclass(frozen=True)
class Command:
    """A command line and what it leaves: `out`, a folder or file in IN; `copies` are put there before it starts.

    `commit` is the file of `out` that says it is complete, where it is not renamed as a whole.
    """

    words: str
    out: str
    commit: str = ""
    copies: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs that the line names, and what those are made from."""
        named = [name for name in INPUTS if f"AT/{name}" in self.words or name in self.copies]
        return tuple(INPUTS)[: 1 + max((list(INPUTS).index(name) for name in named if name != "work"), default=-1)]


INPUTS = {
    "shards": "build --source csv:AT/sounds/list.csv --out AT/shards --workers 1",
    "codebook": "cluster --shards AT/shards --out AT/codebook --recipe.kmeans.clusters 12",
    "tokens.zarr": "encode --shards AT/shards --codebook AT/codebook --out AT/tokens.zarr --workers 1",
    "bag": "train --tokens AT/tokens.zarr --system token-bag --out AT/bag",
    "work": "run --source csv:AT/sounds/list.csv --work AT/work --systems token-bag --workers 1 --recipe AT/tiny.yaml",
}
COMMANDS = {
    "build": Command("build --source csv:AT/sounds/list.csv --out IN/out --workers 2", "out", "dataset.json"),
    "cluster": Command("cluster --shards AT/shards --out IN/out --recipe.kmeans.clusters 12", "out"),
    "encode": Command("encode --shards AT/shards --codebook AT/codebook --out IN/out --workers 2", "out"),
    "encode sound": Command(
        "encode --source csv:AT/sounds/list.csv --codebook AT/codebook --out IN/out --workers 2", "out"
    ),
    "train bag": Command("train --tokens AT/tokens.zarr --system token-bag --out IN/out", "out", "result.json"),
    "train": Command(f"train --tokens AT/tokens.zarr --system token-lstm --out IN/out {TINY}", "out", "result.json"),
    "pretrain": Command(
        f"pretrain --tokens AT/tokens.zarr --out IN/out {TINY} --options.heads 2 --options.layers 1",
        "out",
        "result.json",
    ),
    "evaluate": Command(
        "evaluate --run IN/out --split test --tokens AT/tokens.zarr --replicates 20",
        "out",
        "evaluation-test.json",
        ("bag",),
    ),
    "export": Command("export --tokens AT/tokens.zarr --out IN/out", "out"),
    "report": Command("report --work IN/out", "out", "report.html", ("work",)),
}


def make_inputs(at: Path, commands: Iterable[Command]) -> None:
    """Make the sounds and one of each artefact that the commands read."""
    (at / "sounds").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["path,labels,split"]
    for number in range(SOUNDS):
        place = ("train", "train", "val", "test")[number % 4]
        lines.append(f"{number}.wav,{('low', 'high')[number // 4 % 2]},{place}")
        rate_hz, pitch_hz = 8000, (300, 1200)[number // 4 % 2]
        wave_S = np.sin(2 * np.pi * pitch_hz * np.arange(rate_hz // 2) / rate_hz) + 0.1 * rng.normal(size=rate_hz // 2)
        if number >= BROKEN:
            soundfile.write(at / "sounds" / f"{number}.wav", 0.3 * wave_S, rate_hz)
    (at / "sounds" / "0.wav").write_text("no sound")
    (at / "sounds" / "1.wav").write_bytes(b"")
    (at / "sounds" / "list.csv").write_text("\n".join(lines) + "\n")
    (at / "tiny.yaml").write_text("kmeans: {clusters: [12]}\n")
    (at / "said").mkdir()
    for name, words in INPUTS.items():
        if any(name in (*command.copies, *command.reads) for command in commands):
            done = run(words.replace("AT", str(at)), at / "said" / name)
            assert done.code == 0, (words, done)
    (at / "work" / "report.html").unlink(missing_ok=True)


def prepare(command: Command, at: Path, folder: Path) -> str:
    """Put into the folder of a round what the command finds there; return its line."""
    for name in command.copies:
        shutil.copytree(at / name, folder / command.out)
    return command.words.replace("AT", str(at)).replace("IN", str(folder))


def is_committed(command: Command, folder: Path) -> bool:
    """Whether the artefact is there by its final name, and says that it is complete."""
    return (folder / command.out / command.commit).exists()


def contents(command: Command, folder: Path) -> dict[str, bytes]:
    """Return every file of the artefact, without the times that it took and what a tracker wrote."""
    out = folder / command.out
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and path.relative_to(out).parts[0] not in LOOSE:
            found[name] = _timeless(path.name, path.read_bytes())
    return found


def foreign(command: Command, folder: Path) -> list[str]:
    """Return what lies in the folder of a round besides the artefact: what a stop left and nobody swept."""
    return sorted(path.name for path in folder.iterdir() if path.name != command.out)


def _timeless(name: str, data: bytes) -> bytes:
    """Return a file without the seconds that it tells, and a manifest without the hashes of such files."""
    try:
        if name.endswith(".csv"):
            rows = csv.DictReader(io.StringIO(data.decode()))
            return json.dumps([{k: v for k, v in row.items() if k not in TIMES} for row in rows]).encode()
        if name == "result.json":
            return json.dumps({k: v for k, v in json.loads(data).items() if k not in TIMES}).encode()
        if name == "integrity.json":
            manifest = json.loads(data)
            names = sorted(manifest["files"]), sorted(manifest["added"])
            return json.dumps([manifest["artefact"], manifest["parents"], names]).encode()
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):  # damaged on purpose: other than the whole one
        pass
    return data
