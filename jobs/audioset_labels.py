"""audioset_labels: make the label vocabulary that the package ships, from the files that Google publishes.

`python -m audio_tokens.jobs.audioset_labels --published FOLDER` writes shards/audioset_labels.json;
a test holds that it does.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.shards.publish import publish_bytes

CLASSES, ONTOLOGY = "class_labels_indices.csv", "ontology.json"


@dataclass(frozen=True, kw_only=True)
class AudiosetLabels:
    """Make AudioSet's label vocabulary from the published files.

    Args:
        published: the folder with class_labels_indices.csv and ontology.json
        out: the file to write
    """

    published: str
    out: str = str(Path(__file__).parents[1] / "shards" / "audioset_labels.json")


def audioset_labels(config: AudiosetLabels) -> None:
    """Write the vocabulary: classes in the published order, and the ontology's names and children without its prose."""
    folder = Path(config.published)
    try:
        files = {name: (folder / name).read_bytes() for name in (CLASSES, ONTOLOGY)}
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing; --published names the folder with {CLASSES} and {ONTOLOGY}"
        ) from None
    classes = [(row["mid"], row["display_name"]) for row in csv.DictReader(files[CLASSES].decode("utf-8").splitlines())]
    ontology = [(node["id"], node["name"], node["child_ids"]) for node in json.loads(files[ONTOLOGY])]
    vocabulary = {
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        "classes": classes,
        "ontology": ontology,
    }
    lines = ["{", f' "sha256": {json.dumps(vocabulary["sha256"])},']
    for name, comma in (("classes", ","), ("ontology", "")):
        rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in vocabulary[name])
        lines += [f' "{name}": [', rows, f" ]{comma}"]
    publish_bytes(config.out, ("\n".join([*lines, "}"]) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    return command(AudiosetLabels, audioset_labels, argv)


if __name__ == "__main__":
    sys.exit(main())
