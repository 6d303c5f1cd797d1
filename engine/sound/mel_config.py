"""The configuration of a front end: how sound becomes log mel. Light to import; its hash tells comparable mel apart."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from audio_tokens.engine.sound.channels import CHANNELS, Channels
from audio_tokens.engine.sound.filterbank import SCALES
from audio_tokens.errors import UserError

MOST = 1_000_000  # Hz, samples, bands: a filterbank holds bands x n_fft / 2 numbers
MOST_WEIGHTS = 1 << 24  # of a filterbank, 64 MB
# The least power a decibel is taken of, as in torchaudio.transforms.AmplitudeToDB.
LEAST_POWER = np.float32(1e-10)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MelConfig:
    """How sound becomes log mel.

    Args:
        kind: stft (centred frames, periodic Hann window, dB) or kaldi (torchaudio's Kaldi fbank, natural log: what AST
            expects).
        scale: htk, slaney (with triangles of equal area) or linear; kaldi has its own and wants htk here.
        rate_hz: clips are resampled to this rate.
        n_fft: samples in a transform, and in the window of kind stft.
        window_samples: samples in the window of kind kaldi (n_fft is the next power of two); n_fft for kind stft.
        hop_samples: samples from one frame to the next.
        bands: number of mel bands.
        low_hz: lower corner of the first band.
        high_hz: upper corner of the last band; at most half of rate_hz.
        top_db: dB below a clip's maximum at which its mel is floored; none for kind kaldi.
        channels: auto, mean, left, right or loudest: how the channels of a file become one.
    """

    kind: Literal["stft", "kaldi"] = "stft"
    scale: Literal["htk", "slaney", "linear"] = "htk"
    rate_hz: int = 22_050
    n_fft: int = 1024
    window_samples: int = 1024
    hop_samples: int = 512
    bands: int = 64
    low_hz: float = 0.0
    high_hz: float = 11_025.0
    top_db: float | None = 80.0
    channels: Channels = "auto"

    def __post_init__(self) -> None:
        if self.kind not in ("stft", "kaldi"):
            raise UserError(f"mel kind {self.kind!r} is unknown; use stft or kaldi")
        if self.scale not in SCALES:
            raise UserError(f"mel scale {self.scale!r} is unknown; use one of {', '.join(SCALES)}")
        if self.channels not in CHANNELS:
            raise UserError(f"mel channels {self.channels!r} is unknown; use one of {', '.join(CHANNELS)}")
        for name in ("rate_hz", "n_fft", "window_samples", "hop_samples", "bands"):
            if type(getattr(self, name)) is not int or not 1 <= getattr(self, name) <= MOST:
                raise UserError(
                    f"mel {name} is {getattr(self, name)!r:.60}; it must be a whole number from 1 to {MOST}"
                )
        for name in ("low_hz", "high_hz", "top_db"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) or (value is None and name == "top_db")) or value != value:
                raise UserError(f"mel {name} is {value!r:.60}; it must be a number")
        if self.n_fft < 4 or self.n_fft % 2:
            raise UserError(f"mel n_fft is {self.n_fft}; it must be even and at least 4")
        if self.bands * self.n_fft > 2 * MOST_WEIGHTS:
            raise UserError(f"mel bands {self.bands} and n_fft {self.n_fft} make a filterbank too large; take fewer")
        if not 0 <= self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise UserError(
                f"mel bands from {self.low_hz} to {self.high_hz} Hz do not fit a rate of {self.rate_hz} Hz; "
                f"use 0 <= low_hz < high_hz <= {self.rate_hz / 2}"
            )
        if self.top_db is not None and self.top_db <= 0:
            raise UserError(f"mel top_db is {self.top_db}; it must be above 0, or null for no floor")
        if self.kind == "stft" and self.window_samples != self.n_fft:
            raise UserError(
                f"mel window_samples is {self.window_samples}; kind stft wants it equal to n_fft ({self.n_fft})"
            )
        if self.kind == "kaldi":
            power_of_two = 1 << (self.window_samples - 1).bit_length()
            if self.n_fft != power_of_two:
                raise UserError(
                    f"mel n_fft is {self.n_fft}; kind kaldi wants {power_of_two} for {self.window_samples} samples"
                )
            if self.scale != "htk" or self.top_db is not None:
                raise UserError("mel kind kaldi has its own scale and no floor; use scale: htk and top_db: null")

    @property
    def reflected_samples(self) -> int:
        """Samples by which a wave is lengthened at each end, by reflection: half a window where frames are centred."""
        return self.n_fft // 2 if self.kind == "stft" else 0

    @property
    def least_samples(self) -> int:
        """The fewest samples that make a frame (reflection at both ends needs more than half a window)."""
        return self.n_fft // 2 + 1 if self.kind == "stft" else self.window_samples

    def frames(self, samples: int) -> int:
        """Return the number of frames of a wave of `samples` >= least_samples."""
        if self.kind == "stft":
            return 1 + samples // self.hop_samples
        return 1 + (samples - self.window_samples) // self.hop_samples

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of plain values, complete and in a fixed order: what manifests and codebooks carry."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MelConfig":
        """Return the configuration a manifest or a codebook carries; raises UserError for a foreign one."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(values) != known:
            odd = ", ".join(sorted(set(values) ^ known))
            raise UserError(f"mel configuration differs from this version's in: {odd}; build the shards anew")
        return cls(**values)

    @property
    def config_hash(self) -> str:
        """Sha256 (64 hex digits) of the configuration: equal hashes mean comparable mel."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


MEL_CONFIGS: dict[str, MelConfig] = {
    "mel22k": MelConfig(),
    "ast16k": MelConfig(
        kind="kaldi",
        rate_hz=16_000,
        n_fft=512,
        window_samples=400,
        hop_samples=160,
        bands=128,
        low_hz=20.0,
        high_hz=8_000.0,
        top_db=None,
    ),
    # words: a frame every 10 ms, for much of what tells consonants apart is over within mel22k's 23
    "speech16k": MelConfig(rate_hz=16_000, n_fft=512, window_samples=512, hop_samples=160, high_hz=8_000.0),
}


def mel_config(name: str) -> MelConfig:
    """Return a front end by name; raises UserError with the names there are."""
    if name not in MEL_CONFIGS:
        raise UserError(f"front end {name!r} is unknown; use one of {', '.join(MEL_CONFIGS)}")
    return MEL_CONFIGS[name]
