"""A sound file as a wave, with a mistake that names the file."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.sound.decode import decode, resample
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.errors import ClipError, UserError


def read_sound(file: str, mel: MelConfig) -> Float32[np.ndarray, " S"]:
    """Return a file as a front end takes it: one channel, by its `channels`, at its rate.

    Raises UserError, naming the file, where there is no sound.
    """
    if not Path(file).is_file():
        raise UserError(f"there is no file {file!r}")
    try:
        return resample(*decode(Path(file).read_bytes(), mel.channels), mel.rate_hz)
    except ClipError as error:
        raise UserError(f"{file}: {error}") from None
