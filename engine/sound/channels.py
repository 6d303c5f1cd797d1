"""How the channels of a file become one. S samples, C channels."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

from audio_tokens.errors import ClipError

# auto: the mean, unless the channels cancel each other in it: then the loudest one.
Channels = Literal["auto", "mean", "left", "right", "loudest"]
CHANNELS: tuple[str, ...] = get_args(Channels)
# The channels cancel where the power of their mean lies more than 20 dB below the mean of their powers.
CANCELLED = 0.01


class Mixer:
    """Blocks of a file -> mono blocks, and whether the channels cancel in what has been mixed so far.

    `channel` is a number, left, right, or None for the mean.
    """

    def __init__(self, channel: int | None = None) -> None:
        self._channel = channel
        self._mixed_power = self._channel_power = 0.0

    @property
    def cancels(self) -> bool:
        return self._mixed_power < CANCELLED * self._channel_power

    def __call__(self, wave_SC: Float32[np.ndarray, "S C"]) -> Float32[np.ndarray, " S"]:
        """Raises ClipError where a sample is not finite."""
        channels = wave_SC.shape[1]
        if channels == 1:
            wave_S = wave_SC[:, 0]
        elif self._channel is not None:
            wave_S = np.ascontiguousarray(wave_SC[:, min(self._channel, channels - 1)])
        else:
            wave_S = _mean_of_channels(wave_SC)
        # A quarter of the time of a look at every sample; an overflow is looked into.
        power = float(np.dot(wave_S, wave_S))
        if not np.isfinite(power) and not (finite_S := np.isfinite(wave_S)).all():
            raise ClipError(f"{int((~finite_S).sum())} samples are not finite")
        if channels > 1 and self._channel is None:
            values = wave_SC.ravel(order="K")
            self._mixed_power += power
            self._channel_power += float(np.dot(values, values)) / channels
        return wave_S


def _mean_of_channels(wave_SC: Float32[np.ndarray, "S C"]) -> Float32[np.ndarray, " S"]:
    # Adding strided columns is twenty times faster than mean(axis=1) over pairs: 0.3 ms for 10 s of 48 kHz stereo.
    wave_S = wave_SC[:, 0].copy()
    for channel in range(1, wave_SC.shape[1]):
        wave_S += wave_SC[:, channel]
    wave_S *= np.float32(1 / wave_SC.shape[1])
    return wave_S
