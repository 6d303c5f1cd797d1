"""What a source yields: a clip to be built, or a word on why there is none. S samples."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

KEY = re.compile(r"[A-Za-z0-9_-]+")
KEY_CHARACTERS = 73  # at most, so that `<key>.mel.npy.zst` fits the 100 of a USTAR name


# The bytes of an audio file, the file of a large recording, or a mono wave and its rate in Hz.
Sound = bytes | Path | tuple[Float32[np.ndarray, "S"], int]


class Part(NamedTuple):
    """A part of a recording, from `start_s`, to its end where `duration_s` is None."""

    start_s: float = 0.0
    duration_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One labelled sound, not yet decoded.

    Args:
        key: unique in the data set, `[A-Za-z0-9_-]+`: webdataset cuts a name at its first dot
        labels: names out of the source's `labels`
        place: the split or fold it belongs to: train, val, test, fold-1, ...
        group: clips of one recording share it; no split may part them
        source_id: what the source calls it
        open: returns the encoded bytes, or the file of a large recording; raises ClipError or an OSError where there
            are none
        wave_S: the samples themselves, in place of `open`, in [-1, 1]
        rate_hz: of `wave_S`
        promised_s: seconds that the segment list promises, to be compared with what is decoded
        part: what of the recording is the clip; None: all of it
    """

    key: str
    labels: tuple[str, ...]
    place: str
    group: str
    source_id: str
    open: Callable[[], bytes | Path] | None = None
    wave_S: Float32[np.ndarray, "S"] | None = None
    rate_hz: int | None = None
    promised_s: float | None = None
    part: Part | None = None

    def __post_init__(self) -> None:
        assert KEY.fullmatch(self.key), self.key
        assert (self.open is None) != (self.wave_S is None), f"{self.key}: bytes to open or a wave, one of them"
        assert (self.wave_S is None) == (self.rate_hz is None), f"{self.key}: a wave has a rate"

    def sound(self) -> Sound:
        """Return the encoded bytes or their file, or the wave and its rate. Raises what `open` raises."""
        if self.open is not None:
            return self.open()
        assert self.wave_S is not None
        assert self.rate_hz is not None
        return self.wave_S, self.rate_hz


@dataclass(frozen=True)
class Reject:
    """A clip that was listed and cannot be used."""

    source_id: str
    reason: str


def id_key(source_id: str) -> str:
    """Return the key of a clip that has an id: the id where it can be one, else as of a path."""
    return source_id if KEY.fullmatch(source_id) and len(source_id) <= KEY_CHARACTERS else path_key(source_id)


def path_key(relative: str) -> str:
    """Return the key of a clip named by its path: sanitised for eyes, with 8 hex of the path's hash to be unique."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", relative.rsplit(".", 1)[0])[-64:]
    return f"{stem}-{hashlib.sha256(relative.encode()).hexdigest()[:8]}"
