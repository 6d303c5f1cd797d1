"""What views of a sound are made; light, since recipes and `--help` read it."""

from dataclasses import dataclass
from typing import Annotated

from audio_tokens.engine.ranges import NotNegative, Range, Share, ShareBelow1, check


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How many views of a clip are made, and how far they stray from it; every extent is drawn anew for each view.

    Args:
        count: views of every clip, beside the clip itself
        speed: a view plays faster or slower by up to this share, its pitch following
        gain_db: level, up to so much louder or softer; of no effect where it is normalised away
        tilt_db: slope of the spectrum, up to so many dB an octave up or down
        noise_db: white noise lies so far below the clip, or up to 20 dB further; 0 adds none
        roll: begin anywhere, the head following the tail
        mix: share of the views that another clip is mixed into, their labels by shares
    """

    count: Annotated[int, Range(0, 255)] = 0
    speed: ShareBelow1 = 0.08
    gain_db: NotNegative = 6.0
    tilt_db: NotNegative = 1.0
    noise_db: NotNegative = 30.0
    roll: bool = True
    mix: Share = 0.0

    def __post_init__(self) -> None:
        check(self, "views.")
