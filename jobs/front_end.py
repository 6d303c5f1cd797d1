"""The engine's front end as the transform that the shards' builders call, light enough for a worker to import."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from engine.errors import AudioError
from engine.mel import FrontEnd
from shards.clip import Clip
from shards.errors import ClipError


@dataclass(frozen=True)
class ClipToMel:
    """A clip -> (mel_TF, seconds decoded); T frames, F bands."""

    front_end: FrontEnd

    def __call__(self, clip: Clip) -> tuple[Float32[np.ndarray, "T F"], float]:
        """Raises ClipError with the reason for a clip that cannot become mel, OSError for one that cannot be read."""
        sound = clip.sound()
        try:
            return self.front_end(sound, clip.promised_s)
        except AudioError as error:
            raise ClipError(str(error)) from None
