"""What FFmpeg's own command decodes is what is decoded here: as many samples, the same mel."""

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.sound.decode import decode
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from tests.engine.sound.sound_files import noise

RATE_HZ = 44_100
# file: (arguments of the encoder, samples by which delay and padding of the codec may differ)
FORMATS = {
    "a.wav": ("-c:a pcm_s24le", 0),
    "float.wav": ("-c:a pcm_f32le", 0),
    "ima.wav": ("-c:a adpcm_ima_wav", 0),
    "mulaw.wav": ("-c:a pcm_mulaw", 0),
    "mp3.wav": ("-c:a libmp3lame", 1152),
    "a.rf64": ("-c:a pcm_s16le -f wav -rf64 always", 0),
    "a.w64": ("-c:a pcm_s16le", 0),
    "a.aiff": ("-c:a pcm_s16be", 0),
    "a.caf": ("-c:a pcm_s16be", 0),
    "alac.caf": ("-c:a alac", 0),
    "a.au": ("-c:a pcm_s16be", 0),
    "a.flac": ("-c:a flac", 0),
    "flac.ogg": ("-c:a flac", 0),
    "vorbis.ogg": ("-c:a libvorbis", 0),
    "a.opus": ("-c:a libopus", 0),
    "a.mp3": ("-c:a libmp3lame", 1152),
    "bare.mp3": ("-c:a libmp3lame -write_xing 0 -id3v2_version 0", 1152),
    "a.mp2": ("-c:a mp2", 1152),
    "a.m4a": ("-c:a aac", 1024),
    "alac.m4a": ("-c:a alac", 0),
    "a.aac": ("-c:a aac -f adts", 1024),
    "a.mp4": ("-c:a aac", 1024),
    "a.webm": ("-c:a libopus", 960),
    "vorbis.webm": ("-c:a libvorbis", 1024),
    "a.mka": ("-c:a flac", 0),
    "a.wma": ("-c:a wmav2", 2048),
    "a.wv": ("-c:a wavpack", 0),
    "a.ts": ("-c:a mp2", 1152),
    "a.avi": ("-c:a libmp3lame", 1152),
}


@pytest.fixture(scope="module")
def ffmpeg() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.skip("there is no ffmpeg on the path")
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_as_many_samples_and_the_same_mel(name: str, ffmpeg: str, tmp_path: Path) -> None:
    arguments, delay_samples = FORMATS[name]
    soundfile.write(tmp_path / "source.wav", noise(RATE_HZ, 2), RATE_HZ, subtype="FLOAT")
    quiet = [ffmpeg, "-v", "error", "-y", "-i"]
    made = subprocess.run([*quiet, tmp_path / "source.wav", *arguments.split(), tmp_path / name], capture_output=True)
    if made.returncode:
        pytest.skip(f"this ffmpeg cannot write {name}: {made.stderr.decode()[:80]}")
    theirs = subprocess.run(
        [*quiet, tmp_path / name, "-c:a", "pcm_f32le", "-f", "wav", "-"], capture_output=True, check=True
    ).stdout
    data = (tmp_path / name).read_bytes()
    front_end = FrontEnd(MEL_CONFIGS["mel22k"])
    their_SC, their_hz = soundfile.read(io.BytesIO(theirs), dtype="float32", always_2d=True)
    wave_S, rate_hz = decode(data)
    assert rate_hz == their_hz
    assert abs(len(wave_S) - len(their_SC)) <= delay_samples
    mel_TF, their_mel_TF = front_end(data)[0], front_end((their_SC.mean(axis=1), their_hz))[0]
    frames = min(len(mel_TF), len(their_mel_TF))
    assert float(np.median(np.abs(mel_TF[:frames] - their_mel_TF[:frames]))) <= 0.3
