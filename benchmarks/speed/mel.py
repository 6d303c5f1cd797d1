"""Log mel of one clip after the other on one core: ours, torchaudio, librosa.

Expected before measuring, per 10-s clip at 22.05 kHz: ours 1.2 ms where no frame is steep and up to 1.6
where many are (they are computed a second time, in float64); torchaudio 2.1 to 2.3; librosa 3.1; the floor, which is
FFT, filterbank and logarithm on frames that lie ready in memory, 0.7. Equal output: within 2e-4 dB of the
exact value (float64) anywhere, within 5e-4 dB of torchaudio on noise and 2e-3 dB on the rest, where torchaudio itself
strays that far in bands 70 dB below a loud partial. Axes: S samples, T frames, F bands, W bins.
"""

from collections.abc import Callable

import numpy as np
import scipy.fft

from audio_tokens.engine.sound.filterbank import filterbank
from audio_tokens.engine.sound.log_mel import LogMel, MelConfig
from benchmarks.harness import FLOOR, Report
from benchmarks.inputs import sounds

CLIPS = 8


def bench(report: Report) -> None:
    config = MelConfig()
    cases = {
        "white noise": (sounds.noise(CLIPS, seconds=10, rate_hz=config.rate_hz), 5e-4),
        "soundscapes": (sounds.soundscapes(CLIPS, seconds=10, rate_hz=config.rate_hz), 2e-3),
        "real clips (ESC-10)": (sounds.esc10(4 * CLIPS, rate_hz=config.rate_hz), 2e-3),
    }
    for case, (waves, tolerance_db) in cases.items():
        if waves:
            _race(report, case, waves, config, tolerance_db)


def _race(report: Report, case: str, waves: list[np.ndarray], config: MelConfig, tolerance_db: float) -> None:
    import librosa
    import torch
    import torchaudio

    ours = LogMel(config)
    shape = {"sample_rate": config.rate_hz, "n_fft": config.n_fft, "hop_length": config.hop_samples}
    transform = torch.nn.Sequential(
        torchaudio.transforms.MelSpectrogram(**shape, n_mels=config.bands),
        torchaudio.transforms.AmplitudeToDB(top_db=config.top_db),
    )

    def by_torchaudio(wave_S: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return transform(torch.from_numpy(wave_S)).numpy().T

    def by_librosa(wave_S: np.ndarray) -> np.ndarray:
        power_FT = librosa.feature.melspectrogram(
            y=wave_S, sr=config.rate_hz, n_fft=config.n_fft, hop_length=config.hop_samples,
            n_mels=config.bands, htk=True, norm=None, pad_mode="reflect",
        )  # fmt: skip
        return librosa.power_to_db(power_FT, top_db=config.top_db).T

    frames = [_frames(wave_S, config) for wave_S in waves]
    weights_WF = filterbank(
        scale=config.scale, bins=config.n_fft // 2 + 1, bands=config.bands,
        rate_hz=config.rate_hz, low_hz=config.low_hz, high_hz=config.high_hz,
    ).astype(np.float32)  # fmt: skip

    def bare(frames_TS: np.ndarray) -> np.ndarray:
        spectrum_TW = scipy.fft.rfft(frames_TS, axis=1)
        return np.log10(spectrum_TW.real @ weights_WF)

    contenders = {
        "LogMel": lambda: list(map(ours, waves)),
        "torchaudio": lambda: list(map(by_torchaudio, waves)),
        "librosa": lambda: list(map(by_librosa, waves)),
        FLOOR + "rfft, filterbank, log10": lambda: list(map(bare, frames)),
    }
    seconds = sum(map(len, waves)) / config.rate_hz
    with np.errstate(all="ignore"):  # the floor takes logarithms of whatever comes
        race = report.race(case, contenders, work=seconds / 10, unit="clips of 10 s")
    exact = [_exact(frames_TS, weights_WF, config) for frames_TS in frames]
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "ours": ours,
        "torchaudio": by_torchaudio,
        "librosa": by_librosa,
    }
    mels = {name: [np.asarray(mel(wave_S)) for wave_S in waves] for name, mel in found.items()}
    report.figures("largest error in dB", **{name: _farthest(mels[name], exact) for name in found})
    report.bar(f"{case}: speed over torchaudio", race.speedup("torchaudio"), at_least=1.5)
    report.bar(f"{case}: dB away from exact", _farthest(mels["ours"], exact), at_most=2e-4)
    far_db = _farthest(mels["ours"], mels["torchaudio"])
    report.bar(f"{case}: dB away from torchaudio", far_db, at_most=tolerance_db)


def _frames(wave_S: np.ndarray, config: MelConfig) -> np.ndarray:
    half = config.n_fft // 2
    windows_TS = np.lib.stride_tricks.sliding_window_view(np.pad(wave_S, half, mode="reflect"), config.n_fft)
    return np.ascontiguousarray(windows_TS[:: config.hop_samples])


def _exact(frames_TS: np.ndarray, weights_WF: np.ndarray, config: MelConfig) -> np.ndarray:
    """Return log mel computed in float64 from one end to the other."""
    window_S = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    power_TF = np.abs(scipy.fft.rfft(frames_TS * window_S, axis=1)) ** 2 @ weights_WF.astype(np.float64)
    db_TF = 10 * np.log10(np.maximum(power_TF, 1e-10))
    return np.maximum(db_TF, db_TF.max() - (config.top_db or np.inf))


def _farthest(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    return max(float(np.abs(a_TF - b_TF).max()) for a_TF, b_TF in zip(some, others, strict=True))
