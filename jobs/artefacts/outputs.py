"""What a command may write onto: nothing of anyone else's is ever replaced, moved or removed, not by --force either."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.integrity import INTEGRITY

# Artefacts that are replaced as a whole: a file that tells one, by a word in it, and the names of all that it holds.
REPLACED = {
    "codebook": ("config.json", b"audio-tokens-codebook", r"config\.json|codebook\.safetensors|objective\.csv"),
    "token store": (
        "zarr.json",
        b"audio-tokens-store",
        r"zarr\.json|rejects\.jsonl|[^/]+(/views)?/(zarr\.json|\w+/(zarr\.json|c(/\d+)+))",
    ),
    "quality report": ("quality.json", b'"token_bag"', r"quality\.json|[a-z0-9-]+\.png"),
    "export": ("*.parquet", b"vocab_sizes", r"[\w-]+-\d{5}\.parquet"),
}
TAIL_BYTES = 1 << 20  # a parquet file tells what it is at its end


def claim(out: str | Path, kind: str, inputs: Iterable[str | None]) -> None:
    """See that `out` may become a `kind`: it is free, or wholly one that this program wrote, and far from the inputs.

    `inputs` are paths, URLs or sources (csv:FILE), or None. A folder that is written into rather than replaced (shards,
    a run) is looked through by who writes there. Raises UserError with one line where `out` is an input, lies inside or
    around one, is a file or a link, or holds anything else. Beside the sounds in a source's own folder it may lie: no
    source lists what this program wrote.
    """
    path = Path(out)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UserError(f"--out {out} is a {'link' if path.is_symlink() else 'file'}; choose another --out")
    for given in filter(None, inputs):
        source = _local(given)
        if source is None:
            continue
        ours, theirs = path.resolve(), source.resolve()
        inside = theirs in ours.parents and (str(source) == given or source.is_file())
        where = "is" if ours == theirs else "lies inside" if inside else ""
        where = where or ("lies around" if ours in theirs.parents else "")
        if where:
            raise UserError(f"--out {out} {where} the input {source}; choose another --out")
    if kind in REPLACED and path.exists():
        _look_through(path, kind)


def _look_through(folder: Path, kind: str) -> None:
    tells, word, names = REPLACED[kind]
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    marks = [*folder.glob(tells), folder / INTEGRITY]
    if found and not any(word in _tail(mark) for mark in marks if mark.is_file()):
        raise UserError(f"{folder} holds something that is no {kind}, and is left alone; choose another --out")
    for path in found:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (re.fullmatch(names, name) or name == INTEGRITY):
            raise UserError(
                f"{folder} holds {name}, which is no part of a {kind}; move it away, or choose another --out"
            )


def _tail(file: Path) -> bytes:
    with file.open("rb") as data:
        data.seek(max(0, file.stat().st_size - TAIL_BYTES), os.SEEK_SET)
        return data.read()


def _local(given: str) -> Path | None:
    """Return the path that an input names on this machine, if any."""
    if "://" in given:
        return None
    for name in (given, given.partition(":")[2].split(",")[0]):
        if name and Path(name).exists():
            return Path(name)
    return None
