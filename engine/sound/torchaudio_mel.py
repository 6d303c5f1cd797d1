"""The front ends that torchaudio computes: the reference and GPU path of `kind: stft`, and the whole of `kind: kaldi`.

Axes: B batch, S samples, T frames, F mel bands, W bins of the spectrum.
"""

from collections.abc import Callable

import numpy as np
import torch
from torchaudio import functional, transforms
from torchaudio.compliance import kaldi

from audio_tokens.engine.sound.mel_config import LEAST_POWER, MelConfig
from audio_tokens.errors import UserError


def torchaudio_mel(config: MelConfig, device: str = "cpu") -> Callable[[torch.Tensor], torch.Tensor]:
    """Return torchaudio's own form of `kind: stft`: the reference, and the path on a GPU.

    The result maps a float32 tensor [S] on `device` to dB [T, F]; or [B, S] (clips of one length) to [B, T, F], each
    clip floored by its own maximum.
    """
    if config.kind != "stft":
        raise UserError(f"torchaudio_mel wants a front end of kind stft, not {config.kind}; use kaldi_mel")
    bins = config.n_fft // 2 + 1
    spectrogram = transforms.Spectrogram(n_fft=config.n_fft, hop_length=config.hop_samples, power=2).to(device)
    if config.scale == "linear":
        weights_WF = functional.linear_fbanks(bins, config.low_hz, config.high_hz, config.bands, config.rate_hz)
    else:
        norm = "slaney" if config.scale == "slaney" else None
        weights_WF = functional.melscale_fbanks(
            bins, config.low_hz, config.high_hz, config.bands, config.rate_hz, norm=norm, mel_scale=config.scale
        )
    weights_WF = weights_WF.to(device)

    def mel(wave_S: torch.Tensor) -> torch.Tensor:
        power_WT = spectrogram(wave_S)
        mel_FT = (power_WT.transpose(-1, -2) @ weights_WF).transpose(-1, -2)
        # amplitude_to_DB floors a 4-D array entry by entry, and anything smaller by one common maximum.
        db = functional.amplitude_to_DB(
            mel_FT.reshape(-1, 1, *mel_FT.shape[-2:]), 10.0, float(LEAST_POWER), 0.0, config.top_db
        )
        return db.reshape(mel_FT.shape).transpose(-1, -2)

    return mel


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
