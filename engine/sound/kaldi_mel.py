"""The front end of `kind: kaldi`, computed by torchaudio. Axes: S samples, T frames, F mel bands."""

from collections.abc import Callable

import numpy as np
import torch
from torchaudio.compliance import kaldi

from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.errors import UserError


def kaldi_mel(config: MelConfig) -> Callable[[np.ndarray], np.ndarray]:
    """Return `kind: kaldi`: float32 wave_S -> mel_TF, by Kaldi's fbank as transformers' AST front end calls it."""
    if config.kind != "kaldi":
        raise UserError(f"kaldi_mel wants a front end of kind kaldi, not {config.kind}; use LogMel")

    def mel(wave_S: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            mel_TF = kaldi.fbank(
                torch.from_numpy(np.ascontiguousarray(wave_S)).unsqueeze(0),
                sample_frequency=config.rate_hz,
                window_type="hanning",
                num_mel_bins=config.bands,
                frame_length=1000 * config.window_samples / config.rate_hz,
                frame_shift=1000 * config.hop_samples / config.rate_hz,
                low_freq=config.low_hz,
                high_freq=config.high_hz,
            )
        return mel_TF.numpy()

    return mel
