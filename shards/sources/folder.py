"""`folder:DIR`: subfolders named after classes; splits or folds are folders above them, `train`, `val` and `test`, or
`fold1`, `fold2` ...; else a split is drawn."""

from collections.abc import Iterator
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.files import AUDIO_ENDINGS, MADE_HERE
from audio_tokens.shards.sources.listed import ListedClips
from audio_tokens.shards.sources.registry import split_word
from audio_tokens.shards.sources.table import Line, clips_of, fold_word


def source(where: str) -> ListedClips:
    """Open the folder `where`: `CLASS/...`, `SPLIT/CLASS/...` or `FOLD/CLASS/...`.

    Raises UserError where there is no class in it.

    Files that are no sound by their ending are counted and said; a file outside every class is a mistake.
    """
    root = Path(where)
    if not root.is_dir():
        raise UserError(f"there is no folder {where!r}; folder:DIR names one with a subfolder for each class")
    entries = [entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    top = sorted(entry.name for entry in entries if not any((entry / name).exists() for name in MADE_HERE))
    split_of = {name: split_word(name) for name in top}
    split = bool(top) and all(split_of.values())
    fold = bool(top) and all(name.lower().startswith("fold") and fold_word(name) for name in top)
    if any(split_of.values()) and not split:
        odd = next(name for name, place in split_of.items() if not place)
        raise UserError(
            f"{where!r} holds folders of splits and others: is {odd!r} a class? Put it into train/ or test/"
        )
    above = ["split"] * split + ["fold"] * fold
    lines, others, outside = [], 0, []
    for file in _files(root):
        if file.suffix.lower().lstrip(".") not in AUDIO_ENDINGS:
            others += 1
            continue
        parts = file.relative_to(root).parts
        if len(parts) < 2 + (split or fold):
            outside.append(file.name)
            continue
        values = {"path": "/".join(parts), "labels": [parts[split or fold]]}
        lines.append(Line(str(file), values | dict.fromkeys(above, parts[0])))
    if outside:
        raise UserError(f"{where!r}: {outside[0]!r} and {len(outside) - 1} others lie in no folder of a class")
    if not lines:
        raise UserError(f"{where!r} holds no sound in subfolders named after classes")
    opened = clips_of(root.resolve(), where, lines, ["path", "labels", *above])
    if others:
        opened.notes.append(f"{others} files left out: they are no sound by their ending")
    return opened


def _files(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder, those of a Mac or of version control (a dot first) left out.

    A link to a folder above itself is not followed.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_symlink() and entry.is_dir() and entry.resolve() in entry.parent.resolve().parents:
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry
