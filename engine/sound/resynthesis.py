"""From log mel back to a wave: what a spectrogram, or the tokens it was decoded from, sounds like.

S samples, T frames, F mel bands.
"""

import numpy as np
from jaxtyping import Float, Float32

from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.errors import UserError

ITERATIONS = 32  # of Griffin-Lim; more change nothing that is heard


def mel_to_wave(
    mel_TF: Float[np.ndarray, "T F"], config: MelConfig, level: float | None = None
) -> Float32[np.ndarray, " S"]:
    """Return a wave at `config.rate_hz` whose log mel (dB) is about `mel_TF`; the same for the same mel.

    The mel filterbank is inverted by least squares, and phases are found by Griffin and Lim's iteration (1984), both
    torchaudio's. With `level` (root mean square, full scale at 1) the wave is brought to it, so that 0 is silence;
    peaks beyond full scale are cut.
    Raises UserError for a front end other than kind stft.
    """
    if config.kind != "stft":
        raise UserError(f"a front end of kind {config.kind} cannot be turned back into sound; use one of kind stft")
    import torch
    from torchaudio import transforms

    bins, norm = config.n_fft // 2 + 1, "slaney" if config.scale == "slaney" else None
    if config.scale == "linear":
        raise UserError("a front end of scale linear cannot be turned back into sound; use htk or slaney")
    to_linear = transforms.InverseMelScale(
        bins, config.bands, config.rate_hz, config.low_hz, config.high_hz, norm, config.scale, driver="gelsd"
    )
    to_wave = transforms.GriffinLim(
        config.n_fft, n_iter=ITERATIONS, hop_length=config.hop_samples, power=2, rand_init=False
    )
    power_FT = torch.from_numpy(10 ** (mel_TF.T.astype(np.float32) / 10))
    with torch.no_grad():
        wave_S = to_wave(to_linear(power_FT)).numpy()
    if level is not None:
        own = float(np.sqrt(np.mean(np.square(wave_S), dtype=np.float64)))
        wave_S = wave_S * np.float32(level / own if own else 0.0)
    return np.clip(wave_S, -1, 1).astype(np.float32)
