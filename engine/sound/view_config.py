"""What views of a sound are made; light, since recipes and `--help` read it."""

from dataclasses import dataclass

from audio_tokens.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How many views of a clip are made, and how far they stray from it; every extent is drawn anew for each view.

    Args:
        count: views of every clip, beside the clip itself
        speed: a view plays faster or slower by up to this share, its pitch following
        gain_db: level, up to so much louder or softer; only what is not normalised away hears it
        tilt_db: slope of the spectrum, up to so many dB an octave up or down
        noise_db: white noise lies so far below the clip, or up to 20 dB further; 0 adds none
        roll: begin anywhere, the head following the tail
        mix: share of the views that another clip is mixed into, their labels by shares
    """

    count: int = 0
    speed: float = 0.08
    gain_db: float = 6.0
    tilt_db: float = 1.0
    noise_db: float = 30.0
    roll: bool = True
    mix: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.count <= 255:
            raise UserError(f"views.count {self.count}: from 0 to 255")
        if not 0 <= self.speed < 1:
            raise UserError(f"views.speed {self.speed}: a share from 0 to below 1")
        for name in ("gain_db", "tilt_db", "noise_db"):
            if getattr(self, name) < 0:
                raise UserError(f"views.{name} {getattr(self, name)}: must not be negative")
        if not 0 <= self.mix <= 1:
            raise UserError(f"views.mix {self.mix}: a share from 0 to 1")
