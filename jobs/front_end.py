"""The engine's front end as the transform that the shards' builders call, light enough for a worker to import."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from engine.errors import AudioError
from engine.mel import FrontEnd
from engine.mel_config import MelConfig, mel_config
from jobs.errors import JobError
from shards.clip import Clip
from shards.errors import ClipError


def front_end_config(name_or_file: str) -> MelConfig:
    """Return a front end by name, or from a YAML file of the fields in which it differs from the default one.

    Raises EngineError for an unknown name, JobError for a file that is missing or makes no front end.
    """
    file = Path(name_or_file)
    if file.suffix not in (".yaml", ".yml"):
        return mel_config(name_or_file)
    import yaml

    try:
        fields = yaml.safe_load(file.read_text())
        return MelConfig.from_dict(MelConfig().to_dict() | dict(fields))
    except FileNotFoundError:
        raise JobError(f"front end {name_or_file}: there is no such file") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise JobError(f"front end {name_or_file}: {' '.join(str(error).split())}") from None


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
