"""A trained model's config.json as transformers knows it."""

from typing import Any

from transformers import AutoConfig, PreTrainedConfig

from audio_tokens.engine.systems.tagger import MODEL_TYPE


class AudioTokensConfig(PreTrainedConfig):
    """What TaggerConfig wrote: transformers keeps every key that it does not know as an attribute."""

    model_type = MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)


AutoConfig.register(MODEL_TYPE, AudioTokensConfig)
