"""A trained model's config.json as transformers knows it."""

from transformers import AutoConfig, PreTrainedConfig

from audio_tokens.engine.systems.tagger import MODEL_TYPE


class AudioTokensConfig(PreTrainedConfig):
    """What TaggerConfig wrote: transformers keeps every key that it does not know as an attribute."""

    model_type = MODEL_TYPE


AutoConfig.register(MODEL_TYPE, AudioTokensConfig)
