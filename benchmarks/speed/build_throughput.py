"""From FLAC to mel shards on one core: the build's task engine beside the bare chain and the predecessor's way.

Expected before measuring, per 10-s 48 kHz stereo 24-bit clip: decode 10 ms, resample 2.5, mel 1.2 to 1.6, write 0.05;
so the build, which also checks, journals, hashes and makes JSON, 14 to 15 ms (70 clips/s) and at least 90 % of the
chain's speed; the predecessor's way 17 to 18 ms. FLAC decoding is 70 % of the time. Other decoders (PyAV, torchcodec;
raced where installed) are no faster on such clips. Measured: PyAV takes 1.25 times libsndfile's time, miniaudio 0.85.
S samples, T frames, F bands, C channels.
"""

import csv
import io
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audio_tokens.engine.sound.decode import decode, resample
from audio_tokens.engine.sound.log_mel import LogMel, MelConfig
from benchmarks.harness import FLOOR, Report
from benchmarks.inputs.flac_clips import RATE_HZ, flac_list
from benchmarks.inputs.task_engine import task_engine

CHAIN = FLOOR + "the bare chain"
PREDECESSOR = "the predecessor's way"
OTHERS = {"PyAV", "miniaudio", "torchcodec"}
PARTS = ("part: decode", "part: resample", "part: mel", "part: write")


def bench(report: Report) -> None:
    clips = 8 if report.quick else 32
    listed = flac_list(report.folder / "flac", clips=clips)
    with listed.open() as file:
        paths = [listed.parent / row["path"] for row in csv.DictReader(file)]
    config = MelConfig()
    log_mel = LogMel(config)
    scratch = report.folder / "scratch"
    scratch.mkdir()

    read = [path.read_bytes() for path in paths]
    decoded = [decode(data) for data in read]
    resampled = [resample(wave_S, rate_hz, config.rate_hz) for wave_S, rate_hz in decoded]
    mels = [log_mel(wave_S) for wave_S in resampled]

    def write(mels: list[np.ndarray]) -> None:
        with (scratch / "raw").open("wb") as file:
            for mel_TF in mels:
                file.write(mel_TF.astype(np.float16).tobytes())

    def bare_chain() -> None:
        with (scratch / "chain").open("wb") as file:
            for path in paths:
                wave_SC, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
                wave_S = (wave_SC[:, 0] + wave_SC[:, 1]) / 2
                file.write(log_mel(soxr.resample(wave_S, rate_hz, config.rate_hz)).astype(np.float16).tobytes())

    folders = (report.folder / f"shards-{number}" for number in count())
    contenders = {
        "build": lambda: task_engine(listed, next(folders)).run(),
        PREDECESSOR: lambda: _predecessor(paths, scratch, config),
        CHAIN: bare_chain,
        "part: decode": lambda: [decode(data) for data in read],
        "part: resample": lambda: [resample(wave_S, rate_hz, config.rate_hz) for wave_S, rate_hz in decoded],
        "part: mel": lambda: list(map(log_mel, resampled)),
        "part: write": lambda: write(mels),
    }
    race = report.race("10-s 48 kHz stereo 24-bit FLAC", contenders, work=clips, unit="clips")
    summed = sum(race.ratio(part, "build") for part in PARTS)
    report.figures(
        "share of the build's time", **{part.removeprefix("part: "): race.ratio(part, "build") for part in PARTS}
    )
    report.bar("speed as a share of the chain's, parts summed", summed, at_least=0.8)
    report.bar("speed over the predecessor's way", race.speedup(PREDECESSOR), at_least=1.15)
    _decoders(report, read)


def _predecessor(paths: list[Path], scratch: Path, config: MelConfig) -> None:
    """Load the file whole, mix, build a Resample for the clip, torchaudio's mel, one .npy a clip."""
    import torch
    import torchaudio

    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=config.rate_hz, n_fft=config.n_fft, hop_length=config.hop_samples, n_mels=config.bands
    )
    to_db = torchaudio.transforms.AmplitudeToDB(top_db=config.top_db)
    for path in paths:
        wave_SC, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)  # as torchaudio.load did in 2024
        wave_1S = torch.mean(torch.from_numpy(wave_SC.T), dim=0, keepdim=True)
        wave_1S = torchaudio.transforms.Resample(rate_hz, config.rate_hz)(wave_1S)
        np.save(scratch / f"{path.stem}.npy", to_db(mel(wave_1S).squeeze(0)).numpy())


def _decoders(report: Report, read: list[bytes]) -> None:
    """Race what decoders are installed on the same bytes."""
    found = {"soundfile, with our checks": decode, "soundfile (libsndfile)": _soundfile} | _others()
    contenders = {
        name: lambda decoder=decoder: [decoder(data) for data in read]  # type: ignore[misc]
        for name, decoder in found.items()
    }
    race = report.race("decoding only", contenders, work=len(read), unit="clips")
    fastest = min(found, key=race.median_s)
    report.figures("decoders", fastest=fastest, absent=", ".join(sorted(OTHERS - set(found))) or "none")


def _soundfile(data: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


def _others() -> dict[str, Callable[[bytes], object]]:
    others: dict[str, Callable[[bytes], object]] = {}
    try:
        import av

        def by_av(data: bytes) -> np.ndarray:
            with av.open(io.BytesIO(data), mode="r") as container:
                return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)

        others["PyAV"] = by_av
    except ImportError:
        pass
    try:
        from torchcodec.decoders import AudioDecoder

        others["torchcodec"] = lambda data: AudioDecoder(data).get_all_samples().data
    except (ImportError, RuntimeError, OSError):  # it is there without the FFmpeg it needs
        pass
    try:
        import miniaudio

        def by_miniaudio(data: bytes) -> np.ndarray:
            return np.asarray(miniaudio.decode(data, miniaudio.SampleFormat.FLOAT32, 2, RATE_HZ).samples)

        others["miniaudio"] = by_miniaudio
    except ImportError:
        pass
    return others
