"""The model as transformers knows it: wave in, logits out, so that its pipelines and Auto classes work.

B clips, S samples, L labels.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForAudioClassification, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
from audio_tokens.engine.systems.tagging.auto_config import AudioTokensConfig
from audio_tokens.engine.systems.tagging.model_folder import load_model


class AudioTokensForAudioClassification(PreTrainedModel):
    """A trained model behind its own front end: it reads a wave at `preprocessor_config.json`'s rate."""

    config_class = AudioTokensConfig
    config: AudioTokensConfig
    main_input_name = "input_values"

    def __init__(self, config: AudioTokensConfig, tagger: AudioTagger) -> None:
        super().__init__(config)
        self.model = tagger.model
        self.tagger = tagger

    @classmethod
    def from_pretrained(cls, where: str | Path, *_: Any, **__: Any) -> "AudioTokensForAudioClassification":  # type: ignore[override]
        """Load a model folder, whatever its system; options that transformers hands on have no meaning here."""
        loaded = load_model(where)
        config = AudioTokensConfig(**loaded.model.config.to_dict())
        return cls(config, AudioTagger(*loaded, device="cpu")).eval()

    @torch.no_grad()
    def forward(
        self, input_values: Float[Tensor, "B S"], attention_mask: Tensor | None = None, **_: Any
    ) -> SequenceClassifierOutput:
        """Return logits [B, L] whose softmax (one label a clip) or sigmoid is the mean over the clip's windows."""
        self.tagger.device = self.device  # where transformers has moved the model
        lengths = [len(wave) for wave in input_values] if attention_mask is None else attention_mask.sum(1).tolist()
        waves = [wave[: int(n)].float().cpu().numpy() for wave, n in zip(input_values, lengths, strict=True)]
        scores = [tagging.scores_L for tagging in self.tagger.all([(wave, self.tagger.mel.rate_hz) for wave in waves])]
        scores_BL = torch.stack([torch.from_numpy(scores_L) for scores_L in scores]).double()
        logits_BL = scores_BL.log() if self.model.config.single_label else scores_BL.logit()
        return SequenceClassifierOutput(logits=logits_BL.to(input_values.device, torch.float32))


AutoModelForAudioClassification.register(AudioTokensConfig, AudioTokensForAudioClassification)
