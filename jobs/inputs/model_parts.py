"""What a trained model needs besides its weights to tag sound: the front end and the codebook of its data."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.jobs.inputs.training_data import TrainingData
from audio_tokens.shards.dataset.manifest import Dataset


class ModelParts(NamedTuple):
    """`codebook` is none for a system that reads mel alone; both are none where the tokens' codebook was not found."""

    mel: MelConfig | None
    codebook: Codebook | None


def parts_of_model(data: TrainingData, tokens: str | None, shards: str | None, codebook: str | None) -> ModelParts:
    """Return the front end and codebook of `data`; a codebook that is not named is looked for beside the tokens.

    Where it is not found, that is said: the model can then be evaluated, and cannot tag sound.
    """
    if tokens is None:
        assert shards is not None
        return ModelParts(MelConfig.from_dict(Dataset.open(shards).producer["mel"]), None)
    for folder in _candidates(tokens, codebook):
        found = Codebook.load(folder)
        if found.hash == data.made_by:
            return ModelParts(MelConfig.from_dict(found.mel), found)
    print(
        f"train: warning: the codebook of {tokens} is neither named (--codebook) nor beside it; "
        "without it the model cannot tag sound",
        file=sys.stderr,
    )
    return ModelParts(None, None)


def _candidates(tokens: str, codebook: str | None) -> Iterator[Path]:
    if codebook is not None:
        yield Path(codebook)
        return
    for folder in sorted(Path(tokens).resolve().parent.iterdir()):
        if (folder / "codebook.safetensors").is_file():
            yield folder
