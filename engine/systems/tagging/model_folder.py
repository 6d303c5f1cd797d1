"""A trained model as a folder that needs nothing else: weights, labels, front end and, for token systems, codebook.

config.json  model.safetensors   the system in the Hugging Face form, its labels as id2label and label2id
front_end.json                   how sound becomes mel
codebook/                        how mel becomes tokens (token systems)
preprocessor_config.json, modeling_audio_tokens.py   what transformers asks for: the rate, and where the code is
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.systems.registry import find, load, save
from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.systems.tagging.find_model import find_model
from audio_tokens.errors import UserError, damaged, json_of

if TYPE_CHECKING:
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer

FRONT_END, CODEBOOK, REMOTE_CODE = "front_end.json", "codebook", "modeling_audio_tokens"

REMOTE_SOURCE = '''"""Lets transformers load this model by the package that made it (trust_remote_code=True)."""

try:
    from audio_tokens.engine.systems.tagging.auto_classes import AudioTokensForAudioClassification
    from audio_tokens.engine.systems.tagging.auto_config import AudioTokensConfig
except ImportError as missing:
    raise ImportError("this model needs the package audio-tokens; install it: pip install audio-tokens") from missing

__all__ = ["AudioTokensConfig", "AudioTokensForAudioClassification"]
'''


class LoadedModel(NamedTuple):
    """`tokenizer` is none for a system that reads mel alone."""

    model: Tagger
    mel: MelConfig
    tokenizer: "AudioTokenizer | None"


def save_model(model: Tagger, folder: Path, mel: MelConfig | None, codebook: Codebook | None) -> None:
    """Write a model into an existing folder.

    Without `mel`, or without the codebook of a token system, the folder holds a model that can be scored on stored data
    and cannot tag sound.
    """
    remote = {
        "AutoConfig": f"{REMOTE_CODE}.AudioTokensConfig",
        "AutoModelForAudioClassification": f"{REMOTE_CODE}.AudioTokensForAudioClassification",
    }
    save(model, folder, auto_map=remote)
    (folder / f"{REMOTE_CODE}.py").write_text(REMOTE_SOURCE)
    if mel is not None:
        (folder / FRONT_END).write_text(json.dumps(mel.to_dict(), indent=1) + "\n")
        rate = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": mel.rate_hz}
        rate |= {"do_normalize": False, "feature_size": 1, "padding_value": 0.0, "return_attention_mask": True}
        (folder / "preprocessor_config.json").write_text(json.dumps(rate, indent=1) + "\n")
    if codebook is not None:
        (folder / CODEBOOK).mkdir()
        codebook.save(folder / CODEBOOK)


def load_model(where: str | Path) -> LoadedModel:
    """Load RUN, RUN/model, or a model of the Hugging Face hub (`owner/name`).

    Raises UserError where there is none, or one that lacks its front end or codebook.
    """
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer  # with decoders of sound, which saving needs not

    folder = find_model(where)
    model = load(folder)
    reads = find(model.config.system).reads
    needed = [FRONT_END, *([f"{CODEBOOK}/config.json"] if "tokens" in reads else [])]
    for name in needed:
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} lacks {name}, so it cannot tag sound; train the run again, "
                "naming the codebook of its tokens with --codebook"
            )
    try:
        mel = MelConfig.from_dict(json_of((folder / FRONT_END).read_bytes()))
    except (ValueError, TypeError) as error:
        raise damaged(folder / FRONT_END, error) from None
    tokenizer = AudioTokenizer.from_pretrained(folder / CODEBOOK) if "tokens" in reads else None
    return LoadedModel(model, mel, tokenizer)
