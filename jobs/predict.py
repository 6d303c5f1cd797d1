"""predict: a run's model on sound files of any length.

W windows of a file, L labels.
"""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command

if TYPE_CHECKING:
    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger, Tagging

# What is taken out of a folder; a file that is named is read whatever its ending.
ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".au", ".caf", ".wma"),
    *(".webm", ".mp4", ".mka", ".mkv"),
)
BAR = 30  # characters of a score of 1


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Tag sound files with a trained model: the labels of each, highest score first.

    Args:
        sounds: files, folders (read to any depth) or patterns
        run: the folder of a run or of a model, or a model of the Hugging Face hub
        top: how many labels are shown of each file
        json: print one JSON array, an entry a file
        csv: print a CSV table with the columns file, label, score
        timeline: a folder for the probability of every class over time, a CSV file and a picture for each sound
        device: cpu or cuda; a GPU where there is one unless given
    """

    sounds: tuple[str, ...]
    run: str
    top: int = 5
    json: bool = False
    csv: bool = False
    timeline: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top {self.top}: it must be at least 1")
        if self.json and self.csv:
            raise UserError("--json and --csv both print on standard output; choose one")


def predict(job: Predict) -> int:
    """Answer for every file that can be read; returns 1 where one cannot, after a line that names it, else 0."""
    from audio_tokens.engine.systems.tagging.find_model import find_model

    files, model = list(_files(job.sounds)), find_model(job.run)
    if not any(Path(file).exists() for file in files):
        raise UserError(f"there is no file {files[0]!r}; name files, folders or patterns of them")
    # a mistake so far is told before torch is imported

    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger, Tagging

    tagger = AudioTagger.from_pretrained(model, job.device)
    show, entries, failed = _shown(job), [], 0
    for file, found in zip(files, tagger.taggings(iter(files)), strict=True):
        if isinstance(found, Tagging):
            entry: dict[str, Any] = {"file": file, "labels": tagger.ranked(found.scores_L, job.top)}
            if job.timeline is not None:
                _write_timeline(Path(job.timeline), file, tagger, found)
        else:
            reason = found.strerror if isinstance(found, OSError) else str(found)
            entry = {"file": file, "error": reason}
            print(f"predict: {file}: {reason}", file=sys.stderr)
            failed += 1
        if job.json:
            entries.append(entry)
        elif "labels" in entry:
            show(entry)
    if job.json:
        print(json.dumps(entries, indent=1))
    return 1 if failed else 0


def _files(sounds: Sequence[str]) -> Iterator[str]:
    """Yield the files that the words mean, in order. Raises UserError for a folder or pattern without any sound."""
    for word in sounds:
        if Path(word).is_dir():
            found = sorted(str(path) for path in Path(word).rglob("*") if path.suffix.lower() in ENDINGS)
        elif has_magic(word) and not Path(word).exists():
            matched = glob(word, recursive=True)  # noqa: PTH207  Path.glob refuses absolute patterns
            found = sorted(path for path in matched if Path(path).is_file())
        else:
            found = [word]
        if not found:
            raise UserError(f"{word!r} holds no sound file; name files, folders or patterns of them")
        yield from found


def _shown(job: Predict) -> Any:
    """Return what prints one entry as soon as it is there."""
    if not job.csv:
        return _show_table
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["file", "label", "score"])
    return lambda entry: table.writerows(
        [entry["file"], row["label"], f"{row['score']:.6f}"] for row in entry["labels"]
    )


def _show_table(entry: dict[str, Any]) -> None:
    print(entry["file"])
    for row in entry["labels"]:
        print(f"  {row['label']:<28.28} {row['score']:6.1%} {'#' * round(BAR * row['score'])}".rstrip())


def _write_timeline(folder: Path, file: str, tagger: "AudioTagger", found: "Tagging") -> None:
    """Write `<name>.csv` (start_s, end_s, a column a label) and `<name>.png` (the labels that rise highest)."""
    import io

    from audio_tokens.jobs.display.pictures import timeline
    from audio_tokens.shards.publish import publish_bytes, published_file
    from audio_tokens.shards.sources.clip import path_key

    name = path_key(str(Path(file).absolute()))  # two files of one name in two folders
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["start_s", "end_s", *tagger.labels])
    for start_s, scores_L in zip(found.starts_s_W, found.scores_WL, strict=True):
        table.writerow([f"{start_s:.3f}", f"{start_s + found.window_s:.3f}", *(f"{score:.6f}" for score in scores_L)])
    publish_bytes(folder / f"{name}.csv", text.getvalue().encode())
    figure = timeline(found.starts_s_W, found.window_s, found.scores_WL, tagger.labels, Path(file).name)
    with published_file(folder / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def main(argv: Sequence[str] | None = None) -> int:
    return command(Predict, predict, argv, positional="sounds")


if __name__ == "__main__":
    sys.exit(main())
