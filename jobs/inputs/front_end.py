"""The engine's front end as builders and encoders call it on a source's clips; light enough for a worker to import.

T frames, F bands.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.sound.channels import Channels
from audio_tokens.engine.sound.decode import Excerpt, decode
from audio_tokens.engine.sound.log_mel import FrontEnd
from audio_tokens.engine.sound.longest_clip import LONGEST_S
from audio_tokens.engine.sound.mel_config import MelConfig, mel_config
from audio_tokens.engine.sound.sound_views import mixed, view
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import ClipError, UserError
from audio_tokens.jobs.plain_yaml import plain_yaml
from audio_tokens.seeds import generator
from audio_tokens.shards.sources.clip import Clip, Part, Sound
from audio_tokens.shards.workers.time_limit import renew_time_limit


def front_end_config(name_or_file: str) -> MelConfig:
    """Return a front end by name, or from a file (YAML, JSON) of the fields in which it differs from the default one.

    Raises UserError for an unknown name, and for a file that is missing or makes no front end.
    """
    file = Path(name_or_file)
    if file.suffix not in (".yaml", ".yml", ".json"):
        return mel_config(name_or_file)
    try:
        fields, defaults = plain_yaml(file.read_bytes()), MelConfig().to_dict()
        if not isinstance(fields, dict):
            raise ValueError("it lists no field of a front end, like `bands: 64`")
        for name, value in fields.items():
            if name in defaults and isinstance(value, str) != isinstance(defaults[name], str):
                raise ValueError(f"{name} is {value!r}; it must be of the kind of {defaults[name]!r}")
        return MelConfig.from_dict(defaults | fields)
    except FileNotFoundError:
        raise UserError(f"front end {name_or_file}: there is no such file") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"front end {name_or_file}: {' '.join(str(error).split())}") from None


@dataclass(frozen=True)
class ClipToMel:
    """A clip of at most `longest_s` -> (mel_TF, seconds decoded, what was unusual about its sound ...)."""

    front_end: FrontEnd
    longest_s: float = LONGEST_S

    def __call__(self, clip: Clip) -> tuple[Any, ...]:
        """Raises ClipError with the reason for a clip that cannot become mel, OSError for one that cannot be read.

        A time limit is for each block of a long recording.
        """
        sound = clip.sound()
        excerpt = _excerpt(clip, self.longest_s)
        mel_TF, seconds = self.front_end(
            _mono(*sound) if isinstance(sound, tuple) else sound, clip.promised_s, excerpt, renew_time_limit
        )
        return mel_TF, seconds, *self.front_end.notes


def decoded(
    sound: Sound, clip: Clip, channels: Channels, longest_s: float = LONGEST_S
) -> tuple[Float32[np.ndarray, "S"], float]:
    """Return the wave and rate in Hz of `sound`, which `clip` opened. Raises ClipError for no such.

    A time limit is for each block of a long recording.
    """
    if isinstance(sound, tuple):
        return _mono(*sound)
    return decode(sound, channels, _excerpt(clip, longest_s), renew_time_limit)


def _mono(wave_S: np.ndarray, rate_hz: float) -> tuple[Float32[np.ndarray, "S"], float]:
    if wave_S.ndim != 1:
        raise ClipError(f"an array of shape {wave_S.shape}, not of samples")
    return wave_S, rate_hz


def _excerpt(clip: Clip, longest_s: float) -> Excerpt:
    part = clip.part or Part()
    return Excerpt(part.start_s, part.duration_s, longest_s)


class View(NamedTuple):
    """The mel of a clip or of a view of it, and how much of each label is in it: 1, unless clips were mixed.

    `stands_in`: this is the clip itself, in place of a view that could not become mel.
    """

    mel_TF: Float32[np.ndarray, "T F"]
    shares: dict[str, float]
    stands_in: bool = False


@dataclass(frozen=True)
class ClipToViews:
    """A clip of at most `longest_s` -> the clip itself and `config.count` views of it, a function of the clip, the seed
    and, where clips are mixed, of the clip that is mixed into it.

    A view is made of the whole wave.
    """

    front_end: FrontEnd
    config: ViewConfig
    seed: int
    longest_s: float = LONGEST_S
    # The last wave of each split or fold, since it is likely to be mixed into the next: spares decoding it again.
    _waves: dict[str, tuple[Clip, np.ndarray, float]] = field(default_factory=dict, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ClipToViews, (self.front_end, self.config, self.seed, self.longest_s)

    def __call__(self, clip: Clip, before: Clip | None) -> list[View]:
        """`before` is the clip that some views are mixed with. Raises what ClipToMel raises.

        A view that cannot become mel (sped up, it is too short) is the clip itself.
        """
        wave_S, rate_hz = self._wave(clip)
        own = View(self._mel(wave_S, rate_hz, clip.promised_s), dict.fromkeys(clip.labels, 1.0))
        views = [own]
        for number in range(self.config.count):
            try:
                views.append(self._view(clip, wave_S, rate_hz, number, before))
            except ClipError:
                views.append(own._replace(stands_in=True))
        self._waves[clip.place] = (clip, wave_S, rate_hz)
        return views

    def _wave(self, clip: Clip) -> tuple[Float32[np.ndarray, "S"], float]:
        return decoded(clip.sound(), clip, self.front_end.config.channels, self.longest_s)

    def _view(
        self, clip: Clip, wave_S: Float32[np.ndarray, "S"], rate_hz: float, number: int, before: Clip | None
    ) -> View:
        rng = generator(self.seed, f"view {clip.key}", number)
        shares = dict.fromkeys(clip.labels, 1.0)
        if self.config.mix and rng.random() < self.config.mix and before is not None:
            last, other_S, other_hz = self._waves.get(before.place, (None, wave_S, rate_hz))
            if last is not before:
                other_S, other_hz = self._wave(before)
            share = rng.uniform(0.5, 1)  # a clip stays the louder one of its views
            wave_S = mixed(wave_S, rate_hz, other_S, other_hz, share)
            shares = dict.fromkeys(clip.labels, share)
            for label in before.labels:
                shares[label] = shares.get(label, 0.0) + 1 - share
        return View(self._mel(*view(wave_S, rate_hz, self.config, rng)), shares)

    def _mel(
        self, wave_S: Float32[np.ndarray, "S"], rate_hz: float, promised_s: float | None = None
    ) -> Float32[np.ndarray, "T F"]:
        """Return a wave's mel. Raises ClipError where it is none, as of samples beyond all measure."""
        mel_TF, _ = self.front_end((wave_S, rate_hz), promised_s)
        if mel_TF.ndim != 2 or mel_TF.shape[1] != self.front_end.config.bands or not len(mel_TF):
            raise ClipError(f"mel of shape {mel_TF.shape}, not of frames and {self.front_end.config.bands} bands")
        if not np.isfinite(mel_TF).all():
            raise ClipError("mel is not finite")
        return mel_TF
