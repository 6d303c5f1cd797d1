"""Long files are decoded, resampled and transformed in blocks: the same mel, in memory that is bounded."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.sound import decode, log_mel
from audio_tokens.engine.sound.decode import BY_FFMPEG, LOUDEST_TAKEN, Excerpt, resample
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd, LogMel
from audio_tokens.errors import ClipError
from tests.engine.sound.sound_files import RATE_HZ, by_ffmpeg, by_soundfile, noise


def loud_and_quiet(samples: int) -> np.ndarray:
    """A wave whose loudest place comes late, and that is silent for a while."""
    time_S = np.arange(samples)
    wave_S = np.sin(0.05 * time_S) * np.where(time_S > 0.7 * samples, 0.9, 1e-3)
    wave_S[samples // 5 : samples // 3] = 0
    return wave_S.astype(np.float32)


@pytest.mark.parametrize("name", ["mel22k", "ast16k"])
@pytest.mark.parametrize("run_frames", [64, 128])
def test_how_a_wave_is_cut_changes_no_bit(name: str, run_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_mel, "RUN_FRAMES", run_frames)
    mel = LogMel(MEL_CONFIGS[name])
    wave_S = loud_and_quiet(100_000)
    whole_TF = mel(wave_S)
    assert whole_TF.shape == (mel.config.frames(len(wave_S)), mel.config.bands)
    for block in (1, 100, 300, 7_777, 40_000, 99_900):
        if block == 1:
            blocks = [wave_S[:1], wave_S[1:2], wave_S[2:-1], wave_S[-1:]]
        else:
            blocks = [wave_S[start : start + block] for start in range(0, len(wave_S), block)]
        np.testing.assert_array_equal(mel.of_blocks(blocks), whole_TF)


def test_runs_change_nothing_but_the_last_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run knows the maximum of those before it only, so it computes a few more frames in float64."""
    mel = LogMel(MEL_CONFIGS["mel22k"])
    wave_S = loud_and_quiet(200_000)
    one_run_TF = mel(wave_S)
    monkeypatch.setattr(log_mel, "RUN_FRAMES", 64)
    np.testing.assert_allclose(mel(wave_S), one_run_TF, atol=2e-3)  # observed 4e-4


@pytest.mark.parametrize("name", ["mel22k", "ast16k"])
@pytest.mark.parametrize("kind", ["FLAC", "WAV", "m4a"])
def test_blocks_of_a_file_give_the_mel_of_its_wave(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wave_SC = np.stack([loud_and_quiet(150_000), 0.5 * loud_and_quiet(150_000)], axis=1)
    data = by_ffmpeg(wave_SC, "ipod", "aac") if kind == "m4a" else by_soundfile(wave_SC, kind)
    config = MEL_CONFIGS[name]
    wave_S, rate_hz = decode.decode(data)
    expected_TF = LogMel(config)(resample(wave_S, rate_hz, config.rate_hz))
    monkeypatch.setattr(decode, "BLOCK_VALUES", 20_000)
    front_end = FrontEnd(config)
    mel_TF, seconds = front_end(data)
    np.testing.assert_array_equal(mel_TF, expected_TF)
    assert seconds == len(wave_S) / rate_hz
    assert front_end.notes == ((BY_FFMPEG,) if kind == "m4a" else ())


@pytest.mark.parametrize("block_values", [1 << 23, 20_000])
def test_channels(block_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "BLOCK_VALUES", block_values)
    one_S, two_S = noise(60_000, seed=0)[:, 0], 0.5 * noise(60_000, seed=1)[:, 0]
    stereo = by_soundfile(np.stack([two_S, one_S], axis=1), "WAV", "FLOAT")
    for channels, expected_S in {
        "auto": (one_S + two_S) / 2, "mean": (one_S + two_S) / 2, "left": two_S, "right": one_S, "loudest": one_S,
    }.items():  # fmt: skip
        np.testing.assert_allclose(decode.decode(stereo, channels)[0], expected_S, atol=1e-6)
        assert decode.through(stereo, list, channels=channels)[1].notes == []
    mono = by_soundfile(one_S[:, None], "WAV", "FLOAT")
    for channels in ("auto", "mean", "left", "right", "loudest"):
        np.testing.assert_allclose(decode.decode(mono, channels)[0], one_S, atol=1e-7)


@pytest.mark.parametrize("block_values", [1 << 23, 20_000])
@pytest.mark.parametrize(("residue", "cancels"), [(0.0, True), (0.05, True), (0.3, False)])
def test_channels_that_cancel(
    block_values: int, residue: float, cancels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their mean lies 20 dB below them where a fifth of the amplitude is left: (1 - 0.8) / 2 = 0.1."""
    monkeypatch.setattr(decode, "BLOCK_VALUES", block_values)
    wave_S = noise(60_000)[:, 0]
    data = by_soundfile(np.stack([wave_S, (residue - 1) * wave_S], axis=1), "WAV", "FLOAT")
    blocks, stream = decode.through(data, list)
    expected_S = wave_S if cancels else residue / 2 * wave_S
    np.testing.assert_allclose(np.concatenate(blocks), expected_S, atol=1e-6)
    assert stream.notes == ([LOUDEST_TAKEN] if cancels else [])
    np.testing.assert_allclose(decode.decode(data, "mean")[0], residue / 2 * wave_S, atol=1e-6)


def test_silence_is_not_channels_that_cancel() -> None:
    for wave_SC in (np.zeros((1000, 2)), np.full((1000, 2), 1e-41)):
        assert decode.through(by_soundfile(wave_SC, "WAV", "FLOAT"), list)[1].notes == []


def test_what_is_not_finite_is_found_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    wave_SC = noise(50_000, 2)
    wave_SC[40_000] = np.nan
    data = by_soundfile(wave_SC, "WAV", "FLOAT")
    for block_values in (1 << 23, 20_000):
        monkeypatch.setattr(decode, "BLOCK_VALUES", block_values)
        with pytest.raises(ClipError, match="1 samples are not finite"):
            decode.decode(data)


def test_a_clip_longer_than_the_limit_is_refused_whether_its_header_says_so_or_not() -> None:
    front_end = FrontEnd(MEL_CONFIGS["mel22k"])
    silence = by_soundfile(np.zeros((30 * 8_000, 1)), "FLAC", rate_hz=8_000)
    with pytest.raises(ClipError, match="its header promises 30 s of sound; one clip may have at most 20 s"):
        front_end(silence, excerpt=Excerpt(longest_s=20))
    with pytest.raises(ClipError, match=r"longer than 0\.2 s of sound"):
        front_end(by_ffmpeg(noise(RATE_HZ), "ipod", "aac"), excerpt=Excerpt(longest_s=0.2))
    assert front_end(silence, excerpt=Excerpt(longest_s=30))[1] == 30


@pytest.mark.parametrize("block_values", [1 << 23, 20_000])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "MP3", "ogg ogg", "m4a"])
def test_a_part_of_a_recording_is_what_a_cut_of_its_wave_is(
    kind: str, block_values: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "BLOCK_VALUES", block_values)
    wave_SC = noise(90_000, 2)
    if kind == "ogg ogg":
        data = by_soundfile(wave_SC[:40_000], "OGG") + by_soundfile(wave_SC[40_000:], "OGG")
    else:
        data = by_ffmpeg(wave_SC, "ipod", "aac") if kind == "m4a" else by_soundfile(wave_SC, kind)
    whole_S, rate_hz = decode.decode(data)
    for start_s, duration_s in ((0, 0.5), (0.3, 1.0), (1.2, 0.7), (1.5, None), (0, None)):
        part_S, _ = decode.decode(data, excerpt=Excerpt(start_s, duration_s))
        start = round(start_s * rate_hz)
        stop = None if duration_s is None else start + round(duration_s * rate_hz)
        if kind == "MP3":  # the decoder begins anew where it is sought to
            assert len(part_S) == len(whole_S[start:stop])
            assert np.corrcoef(part_S[5000:], whole_S[start:stop][5000:])[0, 1] > 0.99
        else:
            np.testing.assert_array_equal(part_S, whole_S[start:stop])
    with pytest.raises(ClipError, match=r"no samples at 9 s: the file holds 2\.0"):
        decode.decode(data, excerpt=Excerpt(9, None))
    with pytest.raises(ClipError, match=r"cut off: 1\.\d\d s decoded of 3\.00 s promised"):
        decode.decode(data, excerpt=Excerpt(1, 3))


ROOT = Path(__file__).parents[3]
IN_A_PROCESS_OF_ITS_OWN = """
import sys
from pathlib import Path
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from tests.peak_memory import peak_bytes
front_end = FrontEnd(MEL_CONFIGS["mel22k"])
mel_TF, seconds = front_end(Path(sys.argv[1]))
print(seconds, len(mel_TF), peak_bytes() >> 20)
"""


@pytest.mark.long
def test_memory_does_not_follow_the_length(tmp_path: Path) -> None:
    """40 min of eight channels at 16 kHz are 1.2 GB as floats; blocks of them are 32 MB."""
    peak_MiB = {}
    for minutes in (2, 40):
        file = io.BytesIO()
        with soundfile.SoundFile(file, "w", 16_000, 8, format="FLAC", subtype="PCM_16") as sound:
            for _ in range(minutes):
                sound.write(np.zeros((60 * 16_000, 8), np.int16))
        path = tmp_path / "long.flac"
        path.write_bytes(file.getvalue())
        command = [sys.executable, "-c", IN_A_PROCESS_OF_ITS_OWN, str(path)]
        asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds, frames, peak = asked.stdout.split()
        assert (float(seconds), int(frames)) == (60 * minutes, 1 + 60 * minutes * 22_050 // 512)
        peak_MiB[minutes] = int(peak)
    assert peak_MiB[40] < peak_MiB[2] + 200  # two blocks, their float copies and the mel: observed 110
