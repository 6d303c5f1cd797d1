"""From a wave to log mel: the configuration of a front end, and its fast form on the CPU.

Axes: S samples, T frames, F mel bands, W bins of the spectrum.

The path on the CPU is a strided view of the frames, window, real FFT, squares, filterbank and logarithm, in buffers
that stay in the cache: about twice as fast as torchaudio and more exact (tests/engine/test_mel.py has the tolerances).
torch is imported only for `kind: kaldi` and by engine/mel_torch.py.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import scipy.fft
from jaxtyping import Float32

from engine.audio import check_duration, decode, resample
from engine.errors import AudioError, EngineError
from engine.filterbank import SCALES, filterbank

# The least power a decibel is taken of, as in torchaudio.transforms.AmplitudeToDB.
LEAST_POWER = np.float32(1e-10)
# Frames transformed at a time: 64 x 1024 float32 samples are 256 KiB, which stays in the second-level cache.
CHUNK_FRAMES = 64
# Bands multiplied at a time.
BLOCK_BANDS = 16
# A frame with a band this far below its loudest one is computed in float64.
STEEP_DB = 55.0


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

    def __post_init__(self) -> None:
        if self.kind not in ("stft", "kaldi"):
            raise EngineError(f"mel kind {self.kind!r} is unknown; use stft or kaldi")
        if self.scale not in SCALES:
            raise EngineError(f"mel scale {self.scale!r} is unknown; use one of {', '.join(SCALES)}")
        for name in ("rate_hz", "n_fft", "window_samples", "hop_samples", "bands"):
            if getattr(self, name) < 1:
                raise EngineError(f"mel {name} is {getattr(self, name)}; it must be at least 1")
        if self.n_fft < 4 or self.n_fft % 2:
            raise EngineError(f"mel n_fft is {self.n_fft}; it must be even and at least 4")
        if not 0 <= self.low_hz < self.high_hz <= self.rate_hz / 2:
            raise EngineError(
                f"mel bands from {self.low_hz} to {self.high_hz} Hz do not fit a rate of {self.rate_hz} Hz; "
                f"use 0 <= low_hz < high_hz <= {self.rate_hz / 2}"
            )
        if self.top_db is not None and self.top_db <= 0:
            raise EngineError(f"mel top_db is {self.top_db}; it must be above 0, or null for no floor")
        if self.kind == "stft" and self.window_samples != self.n_fft:
            raise EngineError(
                f"mel window_samples is {self.window_samples}; kind stft wants it equal to n_fft ({self.n_fft})"
            )
        if self.kind == "kaldi":
            power_of_two = 1 << (self.window_samples - 1).bit_length()
            if self.n_fft != power_of_two:
                raise EngineError(
                    f"mel n_fft is {self.n_fft}; kind kaldi wants {power_of_two} for {self.window_samples} samples"
                )
            if self.scale != "htk" or self.top_db is not None:
                raise EngineError("mel kind kaldi has its own scale and no floor; use scale: htk and top_db: null")

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
        """Return the configuration a manifest or a codebook carries; raises EngineError for a foreign one."""
        known = {field.name for field in dataclasses.fields(cls)}
        if set(values) != known:
            odd = ", ".join(sorted(set(values) ^ known))
            raise EngineError(f"mel configuration differs from this version's in: {odd}; build the shards anew")
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
}


def mel_config(name: str) -> MelConfig:
    """Return a front end by name; raises EngineError with the names there are."""
    if name not in MEL_CONFIGS:
        raise EngineError(f"front end {name!r} is unknown; use one of {', '.join(MEL_CONFIGS)}")
    return MEL_CONFIGS[name]


class LogMel:
    """wave_S at `config.rate_hz` -> mel_TF float32. Holds scratch buffers: one instance per thread."""

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._transform: Callable[[np.ndarray], np.ndarray]
        if config.kind == "stft":
            self._transform = _StftMel(config)
        else:
            from engine.mel_torch import kaldi_mel  # a second and 400 MB that the default front end does not pay for

            self._transform = kaldi_mel(config)

    def __call__(self, wave_S: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, "T F"]:
        """Return log mel: dB for kind stft (natural log for kind kaldi), `config.frames(S)` x `config.bands`.

        Raises:
            AudioError: fewer than `config.least_samples` samples, or samples so large that their power overflows.
        """
        if len(wave_S) < self.config.least_samples:
            raise AudioError(
                f"too short: {len(wave_S)} samples at {self.config.rate_hz} Hz; "
                f"a frame needs {self.config.least_samples}"
            )
        mel_TF = self._transform(wave_S)
        if not np.isfinite(mel_TF).all():
            raise AudioError(f"samples up to {np.abs(wave_S).max():.3g} overflow the power spectrum")
        return mel_TF


class FrontEnd:
    """A clip as a source yields it -> (mel_TF float32, seconds). Picklable: workers build their own buffers."""

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._log_mel: LogMel | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_log_mel": None}

    def __call__(
        self, clip: bytes | tuple[Float32[np.ndarray, " S"], int], promised_s: float | None = None
    ) -> tuple[Float32[np.ndarray, "T F"], float]:
        """Decode, mix to mono, resample and transform one clip.

        Args:
            clip: the bytes of an audio file, or a mono wave and its rate in Hz.
            promised_s: duration the source promises; a clip that falls short by more than 2 % and 0.1 s is refused.

        Returns:
            Log mel and the seconds of sound it was made of, before resampling.

        Raises:
            AudioError: the reason why the clip is to be rejected.
        """
        wave_S, rate_hz = decode(clip) if isinstance(clip, bytes) else clip
        seconds = len(wave_S) / rate_hz
        check_duration(seconds, promised_s)
        if not len(wave_S):
            raise AudioError("no samples")
        if not np.isfinite(wave_S).all():
            raise AudioError(f"{int((~np.isfinite(wave_S)).sum())} samples are not finite")
        if self._log_mel is None:
            self._log_mel = LogMel(self.config)
        return self._log_mel(resample(wave_S, rate_hz, self.config.rate_hz)), seconds


class _StftMel:
    """Centred short-time Fourier transform, filterbank and dB, equal to torchaudio's MelSpectrogram + AmplitudeToDB.

    A float32 transform leaves noise some 145 dB below the loudest partial of a frame: 1e-3 dB in a band 80 dB below it.
    Frames with such bands (one in seven of real clips, all of a pure tone) are computed once more in float64, which
    keeps every value within 2e-4 dB of the exact one; torchaudio strays up to 2e-3 dB.
    """

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        weights_WF = filterbank(
            scale=config.scale,
            bins=config.n_fft // 2 + 1,
            bands=config.bands,
            rate_hz=config.rate_hz,
            low_hz=config.low_hz,
            high_hz=config.high_hz,
        )
        # Real and imaginary parts are squared as one run of numbers and added by the filterbank, whose rows stand twice
        # therefore. A block of bands covers few bins, so its product is a quarter of the whole.
        self.blocks = []
        for low in range(0, config.bands, BLOCK_BANDS):
            bands = slice(low, min(low + BLOCK_BANDS, config.bands))
            used_W = np.flatnonzero(weights_WF[:, bands].any(axis=1))
            first, last = (int(used_W[0]), int(used_W[-1]) + 1) if len(used_W) else (0, 1)
            doubled_WF = np.repeat(weights_WF[first:last, bands], 2, axis=0)
            self.blocks.append((bands, slice(2 * first, 2 * last), doubled_WF))
        # The periodic Hann window, as torch.hann_window makes it.
        window_S = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
        self.fast = (window_S.astype(np.float32), np.empty((CHUNK_FRAMES, config.n_fft), np.float32))
        self.exact = (window_S, np.empty((CHUNK_FRAMES, config.n_fft), np.float64))
        self.squares_TW = np.empty((CHUNK_FRAMES, config.n_fft + 2), np.float32)

    def __call__(self, wave_S: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, "T F"]:
        config, half = self.config, self.config.n_fft // 2
        padded_S = np.concatenate([wave_S[half:0:-1], wave_S, wave_S[-2 : -half - 2 : -1]])
        frames_TS = np.lib.stride_tricks.sliding_window_view(padded_S, config.n_fft)[:: config.hop_samples]
        mel_TF = np.empty((len(frames_TS), config.bands), np.float32)
        for start in range(0, len(frames_TS), CHUNK_FRAMES):
            self._power(frames_TS[start : start + CHUNK_FRAMES], self.fast, mel_TF[start : start + CHUNK_FRAMES])
        self._repeat_steep_frames(frames_TS, mel_TF)
        np.maximum(mel_TF, LEAST_POWER, out=mel_TF)
        np.log10(mel_TF, out=mel_TF)
        mel_TF *= np.float32(10)
        if config.top_db is not None:
            np.maximum(mel_TF, mel_TF.max() - np.float32(config.top_db), out=mel_TF)
        return mel_TF

    def _power(self, frames_TS: np.ndarray, precision: tuple[np.ndarray, np.ndarray], out_TF: np.ndarray) -> None:
        """Write the power in every band of at most CHUNK_FRAMES frames."""
        window_S, buffer_TS = precision
        windowed_TS, squares_TW = buffer_TS[: len(frames_TS)], self.squares_TW[: len(frames_TS)]
        np.multiply(frames_TS, window_S, out=windowed_TS)
        parts_TW = scipy.fft.rfft(windowed_TS, axis=1).view(windowed_TS.dtype)
        np.multiply(parts_TW, parts_TW, out=squares_TW, casting="same_kind")
        for bands, columns, doubled_WF in self.blocks:
            np.matmul(squares_TW[:, columns], doubled_WF, out=out_TF[:, bands])

    def _repeat_steep_frames(self, frames_TS: np.ndarray, power_TF: np.ndarray) -> None:
        """Compute in float64 the frames with a band further than STEEP_DB below their loudest, if it is kept at all."""
        loudest_T = power_TF.max(axis=1, keepdims=True)
        floor = LEAST_POWER
        if self.config.top_db is not None:
            floor = max(floor, np.float32(0.99) * loudest_T.max() * np.float32(10 ** (-self.config.top_db / 10)))
        steep_TF = (power_TF < loudest_T * np.float32(10 ** (-STEEP_DB / 10))) & (power_TF > floor)
        steep_T = np.flatnonzero(steep_TF.any(axis=1))
        for start in range(0, len(steep_T), CHUNK_FRAMES):
            chunk_T = steep_T[start : start + CHUNK_FRAMES]
            exact_TF = np.empty((len(chunk_T), self.config.bands), np.float32)
            self._power(frames_TS[chunk_T], self.exact, exact_TF)
            power_TF[chunk_T] = exact_TF
