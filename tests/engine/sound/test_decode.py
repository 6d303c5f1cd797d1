"""Decoding: every format arrives as the same finite mono wave, and no damaged file passes for a whole one."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.sound.decode import check_duration, decode, resample
from audio_tokens.errors import ClipError

RATE_HZ = 44_100


def encode(wave_SC: np.ndarray, *, rate_hz: int = RATE_HZ, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave_SC, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [("WAV", "FLOAT", 1e-7), ("WAV", "PCM_16", 1e-4), ("FLAC", "PCM_24", 1e-6), ("AIFF", "PCM_16", 1e-4)],
)
def test_decodes_to_the_mean_of_the_channels(format: str, subtype: str, tolerance: float, channels: int) -> None:
    wave_SC = noise(3_000, channels)
    wave_S, rate_hz = decode(encode(wave_SC, format=format, subtype=subtype))
    assert rate_hz == RATE_HZ
    assert wave_S.dtype == np.float32
    assert wave_S.flags.c_contiguous
    np.testing.assert_allclose(wave_S, wave_SC.mean(axis=1), atol=tolerance)


@pytest.mark.parametrize(("format", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16")])
def test_lossy_and_packed_formats_keep_their_length(format: str, subtype: str) -> None:
    wave_S, rate_hz = decode(encode(noise(50_000, 2), format=format, subtype=subtype))
    assert (len(wave_S), rate_hz) == (50_000, RATE_HZ)


@settings(max_examples=30, deadline=None)
@given(
    share=st.floats(0.02, 0.995),
    kind=st.sampled_from(
        [
            ("WAV", "PCM_16"),
            ("WAV", "FLOAT"),
            ("RF64", "PCM_16"),
            ("AIFF", "PCM_16"),
            ("FLAC", "PCM_24"),
            ("OGG", "VORBIS"),
            ("MP3", "MPEG_LAYER_III"),
        ]
    ),
)
def test_a_cut_file_never_passes_for_a_whole_one(share: float, kind: tuple[str, str]) -> None:
    """libsndfile decodes what is left of most of these without an error."""
    data = encode(noise(60_000), format=kind[0], subtype=kind[1])
    if data[int(len(data) * share) :].startswith(b"OggS"):
        return  # what is left of an Ogg file ends with a whole page
    with pytest.raises(ClipError, match=r"cut off|cannot be decoded|no samples"):
        decode(data[: int(len(data) * share)])


def test_the_short_decode_that_needs_these_checks_is_real() -> None:
    """The guard above guards something: soundfile alone returns short audio from cut Ogg and WAV files."""
    for format, subtype in (("OGG", "VORBIS"), ("WAV", "PCM_16")):
        data = encode(noise(60_000), format=format, subtype=subtype)
        wave_SC, _ = soundfile.read(io.BytesIO(data[: len(data) // 2]))
        assert 0 < len(wave_SC) < 60_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"not audio at all", "cannot be decoded"),
        (bytes(1000), "cannot be decoded"),
        (b"OggS", "not whole"),
        (encode(noise(0)), "no samples"),
        (encode(np.array([0.1, np.nan, np.inf]), subtype="FLOAT"), "2 samples are not finite"),
        (encode(noise(100), rate_hz=50), "50 Hz is not between"),
    ],
    ids=["empty", "text", "zeros", "ogg", "no samples", "not finite", "rate"],
)
def test_a_bad_file_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ClipError, match=reason) as refusal:
        decode(data)
    assert "\n" not in str(refusal.value)
    assert "0x" not in str(refusal.value), "an address would make rejects differ from run to run"


def test_the_name_of_a_format_does_not_matter_but_an_unknown_length_does_not_hurt() -> None:
    """Piped WAV files carry 2^32-1 as the length of their data."""
    data = bytearray(encode(noise(500)))
    position = data.index(b"data") + 4
    data[position : position + 4] = struct.pack("<I", 0xFFFFFFFF)
    assert len(decode(bytes(data))[0]) == 500


def test_resampling_keeps_what_both_rates_can_hold_and_drops_the_rest() -> None:
    time_S = np.arange(48_000) / 48_000
    kept_S = np.sin(2 * np.pi * 1_000 * time_S).astype(np.float32)
    lost_S = np.sin(2 * np.pi * 15_000 * time_S).astype(np.float32)
    out_S = resample(kept_S + lost_S, 48_000, 22_050)
    assert (len(out_S), out_S.dtype) == (22_050, np.float32)
    expected_S = np.sin(2 * np.pi * 1_000 * np.arange(22_050) / 22_050)
    # Away from the ends the 15-kHz tone is gone: observed 3e-6; folding it down by dropping samples would leave 1.
    np.testing.assert_allclose(out_S[2_000:-2_000], expected_S[2_000:-2_000], atol=1e-4)
    assert resample(kept_S, 48_000, 48_000) is kept_S


@pytest.mark.parametrize(
    ("seconds", "promised_s", "refused"),
    [
        (10.0, None, False),
        (10.0, 10.0, False),
        (9.85, 10.0, False),
        (9.7, 10.0, True),
        (0.95, 1.0, False),
        (5.0, 10.0, True),
    ],
)
def test_a_clip_shorter_than_its_source_promised_is_refused(
    seconds: float, promised_s: float | None, refused: bool
) -> None:
    if refused:
        with pytest.raises(ClipError, match=f"{seconds:.2f} s decoded of {promised_s:.2f} s promised"):
            check_duration(seconds, promised_s)
    else:
        check_duration(seconds, promised_s)


def test_every_real_clip_decodes_whole(data_dir) -> None:
    files = sorted((data_dir / "esc10" / "audio").iterdir())[::10]
    assert len(files) >= 40
    for file in files:
        wave_S, rate_hz = decode(file.read_bytes())
        assert len(wave_S) == pytest.approx(5 * rate_hz, rel=0.01), file.name
