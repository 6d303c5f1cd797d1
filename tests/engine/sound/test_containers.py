"""What a container states is a promise, what a library estimates is none; every kind of file is read to its end."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from audio_tokens.engine.sound.containers.contents import JOINED
from audio_tokens.engine.sound.containers.mpeg_audio import frame_at
from audio_tokens.engine.sound.containers.ogg_pages import NO_END
from audio_tokens.engine.sound.decode import BY_FFMPEG, decode, through
from audio_tokens.errors import ClipError
from tests.engine.sound.sound_files import (
    RATE_HZ,
    by_ffmpeg,
    by_soundfile,
    chunk_size,
    noise,
    without_end_of_stream,
)

MP3_FRAME = 1152
NO_XING = {"write_xing": "0", "id3v2_version": "0"}


def notes(data: bytes | Path) -> list[str]:
    return through(data, lambda stream: sum(map(len, stream)))[1].notes


def alike(wave_S: np.ndarray, source_S: np.ndarray) -> float:
    """Return the correlation of the two where both are."""
    common = min(len(wave_S), len(source_S))
    return float(np.corrcoef(wave_S[:common], source_S[:common])[0, 1])


# kind: (muxer, codec, rate in Hz, samples that its frames may add at the end, least correlation with what was encoded)
KINDS = {
    "m4a": ("ipod", "aac", 44_100, 1024, 0.95),
    "alac": ("ipod", "alac", 44_100, 0, 0.9999),
    "mp4": ("mp4", "aac", 44_100, 1024, 0.95),
    "webm": ("webm", "libopus", 48_000, 0, 0.9),
    "mka": ("matroska", "flac", 44_100, 0, 0.9999),
    "wma": ("asf", "wmav2", 44_100, 4096, None),
    "amr": ("amr", "libopencore_amrnb", 8_000, 160, None),
    "aac": ("adts", "aac", 44_100, 2048, None),
    "ogg flac": ("ogg", "flac", 44_100, 0, 0.9999),
    "mp2": ("mp2", "mp2", 44_100, 1152, None),
    "mp3 in wav": ("wav", "libmp3lame", 44_100, 2304, None),
    "ts": ("mpegts", "mp2", 44_100, 1152, None),
    "avi": ("avi", "libmp3lame", 44_100, 2304, None),
    "wavpack": ("wv", "wavpack", 44_100, 0, 0.999),
    "nut": ("nut", "pcm_s16le", 44_100, 0, 0.999),
    "swf": ("swf", "libmp3lame", 44_100, 2304, None),
    "voc": ("voc", "pcm_u8", 40_000, 0, 0.99),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_libsndfile_does_not_read(kind: str) -> None:
    muxer, codec, rate_hz, extra, least = KINDS[kind]
    channels = 1 if kind == "amr" else 2
    wave_SC = noise(60_000, channels)
    picture = kind in ("mp4", "ts", "avi")
    data = by_ffmpeg(
        wave_SC, muxer, codec, rate_hz=rate_hz, bit_rate=128_000 if kind == "wma" else None, picture=picture
    )
    wave_S, decoded_hz = decode(data)
    assert decoded_hz == rate_hz
    assert 60_000 - 4096 * (kind == "wma") <= len(wave_S) <= 60_000 + extra
    assert notes(data) == [BY_FFMPEG]
    source_S = wave_SC.mean(axis=1)
    assert 0.5 < wave_S.std() / source_S.std() < 2
    if least:
        assert alike(wave_S, source_S) > least


@pytest.mark.parametrize("kind", ["m4a", "alac", "webm", "mka", "ogg flac", "mp3 in wav", "avi", "wavpack"])
@pytest.mark.parametrize("share", [0.3, 0.8, 0.97])
def test_they_do_not_pass_for_whole_ones_when_cut(kind: str, share: float) -> None:
    muxer, codec, rate_hz, *_ = KINDS[kind]
    data = by_ffmpeg(noise(60_000, 2), muxer, codec, rate_hz=rate_hz)
    with pytest.raises(ClipError, match=r"cut off|cannot be decoded|no samples"):
        decode(data[: int(share * len(data))])


def test_a_film_without_sound_says_so() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(ClipError, match="no sound track"):
        decode(file.getvalue())


def test_the_length_of_an_mp3_is_not_estimated() -> None:
    """Where no header states it, libsndfile takes it from the first frame's bit rate, and refuses or loses the rest."""
    quiet, loud = (
        by_ffmpeg(
            noise(40_000, seed=seed), "mp3", "libmp3lame", bit_rate=rate, options=NO_XING | {"id3v2_version": "0"}
        )
        for seed, rate in enumerate((256_000, 40_000))
    )
    for data in (quiet, loud, quiet + loud, loud + quiet):
        frames = count_frames(data)
        wave_S, _ = decode(data)
        assert frames - 2 <= len(wave_S) / MP3_FRAME <= frames
    # a header that states it is believed
    stated = by_ffmpeg(noise(40_000), "mp3", "libmp3lame")
    assert len(decode(stated)[0]) == 40_000
    assert notes(stated) == []
    with pytest.raises(ClipError, match="cut off: the MPEG stream holds"):
        decode(stated[:-1])


def count_frames(mpeg: bytes) -> int:
    at = frames = 0
    while (frame := frame_at(mpeg, at)) is not None:
        frames, at = frames + 1, at + frame.frame_bytes
    assert at == len(mpeg)
    return frames


@pytest.mark.parametrize("head", [bytes(2000), bytes(4), b"\xff\xfb rubbish" * 30])
def test_what_stands_before_the_first_frame_does_not_matter(head: bytes) -> None:
    data = by_ffmpeg(noise(40_000), "mp3", "libmp3lame", options={"id3v2_version": "0"})
    assert len(decode(head + data)[0]) == pytest.approx(40_000, abs=2 * MP3_FRAME)


def test_what_merely_looks_like_a_frame_is_no_mp3() -> None:
    rubbish = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()
    with pytest.raises(ClipError, match="cannot be decoded"):
        decode(rubbish)


def test_all_of_a_joined_mp3_is_read() -> None:
    """The header of the first one counts its own frames only."""
    first, second = (by_ffmpeg(noise(40_000, seed=seed), "mp3", "libmp3lame") for seed in range(2))
    wave_S, _ = decode(first + second)
    assert len(wave_S) == pytest.approx(80_000, abs=4 * MP3_FRAME)


def of_kind(kind: str, wave_SC: np.ndarray) -> bytes:
    if kind in ("WAV", "RF64", "AIFF", "FLAC"):
        return by_soundfile(wave_SC, kind)
    muxer, codec, rate_hz, *_ = KINDS[kind]
    return by_ffmpeg(wave_SC, muxer, codec, rate_hz=rate_hz)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "alac", "m4a", "mka", "webm"])
def test_all_of_what_was_joined_is_read(kind: str) -> None:
    files = [of_kind(kind, noise(samples, seed=samples)) for samples in (50_000, 900, 70_000)]
    wave_S, _ = decode(b"".join(files))
    np.testing.assert_array_equal(wave_S, np.concatenate([decode(file)[0] for file in files]))
    assert JOINED in notes(b"".join(files))
    with pytest.raises(ClipError):
        decode(b"".join(files)[: -len(files[-1]) // 2])


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS", "flac"])
def test_all_of_a_chained_ogg_is_read(codec: str) -> None:
    rate_hz, waves = 48_000, [noise(30_000, seed=seed) for seed in range(3)]
    streams = [
        by_ffmpeg(wave_SC, "ogg", "flac", rate_hz=rate_hz)
        if codec == "flac"
        else by_soundfile(wave_SC, "OGG", codec, rate_hz=rate_hz)
        for wave_SC in waves
    ]
    wave_S, _ = decode(b"".join(streams))
    assert len(wave_S) == 90_000
    np.testing.assert_array_equal(wave_S, np.concatenate([decode(stream)[0] for stream in streams]))
    with pytest.raises(ClipError, match="cut off"):
        decode(b"".join(streams)[:-10])
    with pytest.raises(ClipError, match="the rate changes within the file, from 48000 to 44100 Hz"):
        decode(streams[0] + by_soundfile(waves[0], "OGG", "VORBIS"))


def test_an_ogg_without_its_last_page_is_kept_and_noted_and_one_cut_inside_a_page_refused() -> None:
    data = by_soundfile(noise(200_000), "OGG", "VORBIS")
    left = without_end_of_stream(data)
    assert len(left) > len(data) // 2
    wave_S, _ = decode(left)
    assert 100_000 < len(wave_S) < 200_000
    assert notes(left) == [NO_END]
    for junk in (bytes(512), b"TAG" + bytes(125)):
        assert len(decode(data + junk)[0]) == 200_000
    with pytest.raises(ClipError, match="the last Ogg page is not whole"):
        decode(left[:-1])


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_placeholders_of_streams_promise_nothing(size: int) -> None:
    wave_SC = noise(5_000)
    wav = chunk_size(by_soundfile(wave_SC, "WAV", "PCM_16"), b"data", size)
    np.testing.assert_allclose(decode(wav)[0], wave_SC[:, 0], atol=1e-4)
    if size:
        aiff = chunk_size(by_soundfile(wave_SC, "AIFF", "PCM_16"), b"SSND", min(size, 0x7FFFF000), ">")
        np.testing.assert_allclose(decode(aiff)[0], wave_SC[:, 0], atol=1e-4)


def test_a_piped_flac_is_read_whole_and_not_when_cut() -> None:
    wave_SC = noise(60_000, 2)
    data = bytearray(by_soundfile(wave_SC, "FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    wave_S, _ = decode(bytes(data))
    np.testing.assert_allclose(wave_S, wave_SC.mean(axis=1), atol=1e-4)
    with pytest.raises(ClipError, match="cannot be decoded"):
        decode(bytes(data[:-300]))
    tagged = b"ID3\x03\0\0\0\0\x07\x76" + bytes(7 * 128 + 0x76)
    assert len(decode(tagged + bytes(data))[0]) == len(decode(tagged + by_soundfile(wave_SC, "FLAC"))[0]) == 60_000


@pytest.mark.parametrize(
    ("format", "name"), [("AU", "AU file"), ("W64", "data chunk"), ("CAF", "data chunk"), ("NIST", "SPHERE")]
)
def test_other_kinds_that_state_their_length_are_held_to_it(format: str, name: str) -> None:
    data = by_soundfile(noise(20_000), format, "PCM_16")
    assert len(decode(data)[0]) == 20_000
    with pytest.raises(ClipError, match=f"cut off: the .*{name}"):
        decode(data[:-1_000])


def test_a_file_is_read_like_its_bytes(tmp_path: Path) -> None:
    for name, data in {
        "a.flac": by_soundfile(noise(20_000), "FLAC"),
        "a.m4a": by_ffmpeg(noise(20_000), "ipod", "aac"),
        "a.ogg": by_soundfile(noise(9_000), "OGG") + by_soundfile(noise(9_000), "OGG"),
    }.items():
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(decode(tmp_path / name)[0], decode(data)[0])


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.wav").write_bytes(by_soundfile(noise(20_000), "WAV"))
    for text in (
        f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n",
        f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.wav\n",
    ):
        with pytest.raises(ClipError, match="cannot be decoded"):
            decode(text.encode())


def test_rates_other_than_the_container_names() -> None:
    """HE-AAC and the like tell their rate in the first frame only; what is reported is that of the samples."""
    wave_S, rate_hz = decode(by_ffmpeg(noise(16_000), "adts", "aac", rate_hz=16_000))
    assert rate_hz == 16_000
    assert len(wave_S) / rate_hz == pytest.approx(1.0, abs=0.2)
    assert rate_hz != RATE_HZ
