"""Windows cover a sound, whole or read in blocks; hypothesis-free since a handful of lengths meet every branch."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.sound.decode import resample
from audio_tokens.engine.sound.wave_input import mono
from audio_tokens.engine.systems.tagging import windows as module
from audio_tokens.engine.systems.tagging.windows import windows
from audio_tokens.errors import ClipError, UserError

RATE_HZ, WINDOW = 8000, 1000


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 999, 1000, 1001, 1499, 1500, 1501, 2000, 2345, 10_000])
def test_windows_cover_the_sound_overlap_by_half_and_end_with_it(samples: int) -> None:
    wave_S = noise(samples)
    found = list(windows((wave_S, RATE_HZ), RATE_HZ, WINDOW))
    starts = [round(window.start_s * RATE_HZ) for window in found]
    for start, window in zip(starts, found, strict=True):
        np.testing.assert_array_equal(window.wave_S, wave_S[start : start + WINDOW])
    assert len({len(window.wave_S) for window in found}) == 1
    assert starts[-1] + len(found[-1].wave_S) == samples
    assert starts[0] == 0
    assert all(0 < step <= WINDOW // 2 for step in np.diff(starts))


def test_a_long_file_read_in_blocks_gives_what_one_read_at_once_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave_SC = noise(60_000).reshape(-1, 2)
    soundfile.write(tmp_path / "a.wav", wave_SC, 11_025, subtype="FLOAT")
    whole = list(windows(tmp_path / "a.wav", RATE_HZ, WINDOW))
    monkeypatch.setattr(module, "LONG_BYTES", 1000)
    monkeypatch.setattr("audio_tokens.engine.sound.decode.BLOCK_VALUES", 1400)
    blocks = list(windows(str(tmp_path / "a.wav"), RATE_HZ, WINDOW))
    assert len(blocks) == len(whole) > 20
    for one, other in zip(whole, blocks, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=2 / RATE_HZ)
    joined = np.concatenate([window.wave_S[: WINDOW // 2] for window in blocks[:-1]])
    np.testing.assert_allclose(joined, resample(mono(wave_SC.T, 11_025), 11_025, RATE_HZ)[: len(joined)], atol=1e-5)


def test_what_is_no_sound_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not sound at all")
    with pytest.raises(ClipError, match="cannot be decoded"):
        list(windows(tmp_path / "text.wav", RATE_HZ, WINDOW))
    with pytest.raises(UserError, match=r"there is no file .*gone\.wav"):
        list(windows(tmp_path / "gone.wav", RATE_HZ, WINDOW))


@pytest.mark.parametrize(
    ("wave", "rate_hz", "message"),
    [
        (np.zeros(10, np.int16), 8000, "int16"),
        (np.zeros((10, 2), np.float32), 8000, r"\(10, 2\); give \[channels, samples\]"),
        (np.zeros((1, 1, 9), np.float32), 8000, r"\(1, 1, 9\)"),
        (np.zeros(0, np.float32), 8000, r"\(0,\)"),
        (np.zeros(10, np.float32), 0, "rate of 0 Hz"),
    ],
)
def test_an_array_that_is_no_wave_is_refused(wave: np.ndarray, rate_hz: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mono(wave, rate_hz)


def test_channels_are_averaged() -> None:
    wave_CS = noise(100).reshape(2, 50).astype(np.float64)
    np.testing.assert_allclose(mono(wave_CS, 8000), wave_CS.mean(axis=0), atol=1e-7)
