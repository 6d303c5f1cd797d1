"""From a clip to log mel: the front end that builders, the tokenizer and the benchmarks call.

Axes: S samples, T frames, F mel bands, W bins of the spectrum.

The path on the CPU is a strided view of the frames, window, real FFT, squares, filterbank and logarithm, in buffers
that stay in the cache: about twice as fast as torchaudio and more exact (tests/engine/sound/test_log_mel.py).
torch is imported only for `kind: kaldi`.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Float32

from audio_tokens.engine.sound.decode import ALL, Excerpt, MonoStream, check_duration, resample, resampled, through
from audio_tokens.engine.sound.filterbank import filterbank
from audio_tokens.engine.sound.mel_config import LEAST_POWER, MEL_CONFIGS, MelConfig, mel_config
from audio_tokens.errors import ClipError

__all__ = ["MEL_CONFIGS", "FrontEnd", "LogMel", "MelConfig", "mel_config"]

# Frames of a run, the piece in which a long wave is transformed: 33 MB of samples. Clips up to 380 s are one run.
RUN_FRAMES = 1 << 14
# Frames transformed at a time: 64 x 1024 float32 samples are 256 KiB, which stays in the second-level cache.
CHUNK_FRAMES = 64
# Bands multiplied at a time.
BLOCK_BANDS = 16
# A frame with a band this far below its loudest one is computed in float64.
STEEP_DB = 55.0


class LogMel:
    """wave_S at `config.rate_hz` -> mel_TF float32. Holds scratch buffers: one instance per thread."""

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self._run: Callable[[np.ndarray, float], np.ndarray]
        if config.kind == "stft":
            self._run = _StftMel(config)
        else:
            from audio_tokens.engine.sound.kaldi_mel import (
                kaldi_mel,  # a second and 400 MB that the default front end does not pay for
            )

            kaldi = kaldi_mel(config)
            self._run = lambda run_S, loudest: kaldi(run_S)

    def __call__(self, wave_S: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, "T F"]:
        """Return log mel: dB for kind stft (natural log for kind kaldi), `config.frames(S)` x `config.bands`.

        Raises:
            ClipError: fewer than `config.least_samples` samples, or samples so large that their power overflows.
        """
        return self.of_blocks([wave_S])

    def of_blocks(self, blocks: Iterable[Float32[np.ndarray, " _"]]) -> Float32[np.ndarray, "T F"]:
        """Return the log mel of a wave that comes in blocks: the same values as of the whole wave, however it is cut.

        Raises what a call raises.
        """
        parts: list[np.ndarray] = []
        loudest = -np.inf
        for run_S in self._runs(blocks):
            with np.errstate(over="ignore", invalid="ignore"):
                part_TF = self._run(run_S, loudest)
            if not np.isfinite(part_TF).all():
                raise ClipError(f"samples up to {np.abs(run_S).max():.3g} overflow the power spectrum")
            loudest = max(loudest, float(part_TF.max()))
            parts.append(part_TF)
        mel_TF = parts[0] if len(parts) == 1 else _emptied(parts)
        if self.config.top_db is not None:
            np.maximum(mel_TF, np.float32(loudest) - np.float32(self.config.top_db), out=mel_TF)
        return mel_TF

    def _runs(self, blocks: Iterable[np.ndarray]) -> Iterator[Float32[np.ndarray, " _"]]:
        """Yield the samples of RUN_FRAMES frames at a time, then those of the rest, ends reflected for kind stft."""
        config = self.config
        window, reflected = config.n_fft if config.kind == "stft" else config.window_samples, config.reflected_samples
        step = RUN_FRAMES * config.hop_samples
        pieces: list[np.ndarray] = []
        held = samples = 0
        for block_S in blocks:
            pieces.append(block_S)
            held += len(block_S)
            if samples < config.least_samples <= samples + len(block_S) and reflected:
                pieces = [_joined(pieces)]
                pieces.insert(0, pieces[0][reflected:0:-1])
                held += reflected
            samples += len(block_S)
            if held >= step + window:
                run_S = _joined(pieces)
                starts = range(0, held - step - window + 1, step)
                for start in starts:
                    yield run_S[start : start + step - config.hop_samples + window]
                pieces = [run_S[len(starts) * step :]]
                held = len(pieces[0])
        if samples < config.least_samples:
            raise ClipError(
                f"too short: {samples} samples at {config.rate_hz} Hz; a frame needs {config.least_samples}"
            )
        if reflected:
            if len(pieces[-1]) < reflected + 2:
                pieces = [_joined(pieces)]
            pieces.append(pieces[-1][-2 : -reflected - 2 : -1])
        yield _joined(pieces)


def _emptied(parts: list[np.ndarray]) -> np.ndarray:
    """Return the parts as one array; each is let go once it is copied, so that hours of mel are not held twice."""
    end = sum(map(len, parts))
    whole_TF = np.empty((end, parts[0].shape[1]), parts[0].dtype)
    while parts:
        part_TF = parts.pop()
        whole_TF[end - len(part_TF) : end] = part_TF
        end -= len(part_TF)
    return whole_TF


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


class FrontEnd:
    """A clip as a source yields it -> (mel_TF float32, seconds). Picklable: workers build their own buffers.

    `notes` tells what was unusual about the last clip, to be counted: it was read by FFmpeg, say.
    """

    def __init__(self, config: MelConfig) -> None:
        self.config = config
        self.notes: tuple[str, ...] = ()
        self._log_mel: LogMel | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_log_mel": None}

    def __call__(
        self,
        clip: bytes | Path | tuple[Float32[np.ndarray, " S"], float],
        promised_s: float | None = None,
        excerpt: Excerpt = ALL,
        on_block: Callable[[], object] = lambda: None,
    ) -> tuple[Float32[np.ndarray, "T F"], float]:
        """Decode, mix to mono, resample and transform one clip; a long one in blocks.

        Args:
            clip: an audio file, or its bytes, or a mono wave and its rate in Hz.
            promised_s: duration the source promises; a clip that falls short by more than 2 % and 0.1 s is refused.
            excerpt: what of an audio file is the clip.
            on_block: told of every block of it that is decoded, some 100 s.

        Returns:
            Log mel and the seconds of sound it was made of, before resampling.

        Raises:
            ClipError: the reason why the clip is to be rejected.
        """
        self.notes = ()
        self._log_mel = log_mel = self._log_mel or LogMel(self.config)
        if isinstance(clip, tuple):
            wave_S, rate_hz = clip
            _check_wave(wave_S, rate_hz, promised_s)
            return log_mel(resample(wave_S, rate_hz, self.config.rate_hz)), len(wave_S) / rate_hz

        def mel_of(stream: MonoStream) -> np.ndarray:
            return log_mel.of_blocks(resampled(stream, self.config.rate_hz))

        mel_TF, stream = through(
            clip,
            mel_of,
            channels=self.config.channels,
            excerpt=excerpt,
            promised_s=promised_s,
            on_block=on_block,
        )
        self.notes = tuple(stream.notes)
        return mel_TF, stream.seconds


def _check_wave(wave_S: Float32[np.ndarray, " S"], rate_hz: float, promised_s: float | None) -> None:
    check_duration(len(wave_S) / rate_hz, promised_s)
    if not len(wave_S):
        raise ClipError("no samples")
    if not np.isfinite(wave_S).all():
        raise ClipError(f"{int((~np.isfinite(wave_S)).sum())} samples are not finite")


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

    def __call__(self, run_S: Float32[np.ndarray, " S"], loudest: float) -> Float32[np.ndarray, "T F"]:
        """Return the dB of a run of samples; `loudest` is the maximum of the clip's earlier runs."""
        frames_TS = np.lib.stride_tricks.sliding_window_view(run_S, self.config.n_fft)[:: self.config.hop_samples]
        mel_TF = np.empty((len(frames_TS), self.config.bands), np.float32)
        for start in range(0, len(frames_TS), CHUNK_FRAMES):
            self._power(frames_TS[start : start + CHUNK_FRAMES], self.fast, mel_TF[start : start + CHUNK_FRAMES])
        self._repeat_steep_frames(frames_TS, mel_TF, loudest)
        np.maximum(mel_TF, LEAST_POWER, out=mel_TF)
        np.log10(mel_TF, out=mel_TF)
        mel_TF *= np.float32(10)
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

    def _repeat_steep_frames(self, frames_TS: np.ndarray, power_TF: np.ndarray, loudest: float) -> None:
        """Compute in float64 the frames with a band further than STEEP_DB below their loudest, if it is kept at all."""
        loudest_T = power_TF.max(axis=1, keepdims=True)
        floor = LEAST_POWER
        if self.config.top_db is not None:
            power = max(loudest_T.max(), np.float32(10 ** (loudest / 10)))
            floor = max(floor, np.float32(0.99) * power * np.float32(10 ** (-self.config.top_db / 10)))
        steep_TF = (power_TF < loudest_T * np.float32(10 ** (-STEEP_DB / 10))) & (power_TF > floor)
        steep_T = np.flatnonzero(steep_TF.any(axis=1))
        for start in range(0, len(steep_T), CHUNK_FRAMES):
            chunk_T = steep_T[start : start + CHUNK_FRAMES]
            exact_TF = np.empty((len(chunk_T), self.config.bands), np.float32)
            self._power(frames_TS[chunk_T], self.exact, exact_TF)
            power_TF[chunk_T] = exact_TF
