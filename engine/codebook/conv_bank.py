"""A bank of random kernels along the bands of every frame: the predecessor's front layer, drawn once and saved.

T frames, F mel bands, K kernels, W taps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.ranges import Count, check
from audio_tokens.errors import UserError
from audio_tokens.seeds import generator


@dataclass(frozen=True, kw_only=True)
class ConvBankConfig:
    """Random kernels that turn a frame of F bands into one of kernels x F.

    Args:
        kernels: how many kernels
        kernel_size: taps of each kernel; odd, so that a band stays in the middle
    """

    kernels: Count = 3
    kernel_size: Count = 3

    def __post_init__(self) -> None:
        check(self, "conv_bank.")
        if self.kernel_size % 2 == 0:
            raise UserError(f"conv_bank.kernel_size is {self.kernel_size}; it must be odd, say 3 or 5")


def draw_kernels(config: ConvBankConfig, seed: int) -> Float32[np.ndarray, "K W"]:
    """Return the seeded kernels, uniform within +-1/sqrt(taps) as torch initialises a Conv1d of one input channel."""
    bound = 1 / np.sqrt(config.kernel_size)
    shape = (config.kernels, config.kernel_size)
    return generator(seed, "conv bank").uniform(-bound, bound, shape).astype(np.float32)


def convolve(mel_TF: Float32[np.ndarray, "T F"], kernels_KW: Float32[np.ndarray, "K W"]) -> Float32[np.ndarray, "T KF"]:
    """Correlate every frame with every kernel along its bands, zeros beyond the edges; K outputs side by side."""
    kernels, taps = kernels_KW.shape
    padded = np.pad(mel_TF, ((0, 0), (taps // 2, taps // 2)))
    windows_TFW = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)
    out_TKF = np.einsum("tfw,kw->tkf", windows_TFW, kernels_KW, optimize=True)
    return np.ascontiguousarray(out_TKF, dtype=np.float32).reshape(len(mel_TF), kernels * mel_TF.shape[1])
