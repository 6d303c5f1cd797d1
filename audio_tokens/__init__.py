"""Audio as tokens: the rooms `engine`, `shards` and `jobs`, linked from the top of the repository, under one name.

`from audio_tokens import AudioTokenizer, AudioTagger` is the public door. Importing this package is light: what the two
need is imported when they are asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from audio_tokens.engine.systems.tagging.transformers_hook import watch

if TYPE_CHECKING:
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger

__all__ = ["AudioTagger", "AudioTokenizer"]

PLACES = {
    "AudioTagger": "audio_tokens.engine.systems.tagging.audio_tagger",
    "AudioTokenizer": "audio_tokens.engine.codebook.tokenizer",
}

watch()


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'audio_tokens' has no attribute {name!r}")
    return getattr(importlib.import_module(PLACES[name]), name)
