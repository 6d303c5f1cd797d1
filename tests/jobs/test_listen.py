"""What tokens say, to read and to hear: levels are the clips' own, silence stays silence."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.channels import Channels
from audio_tokens.engine.sound.log_mel import LogMel
from audio_tokens.engine.sound.mel_config import MEL_CONFIGS, MelConfig
from audio_tokens.engine.sound.resynthesis import mel_to_wave
from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.sound_files import read_sound
from audio_tokens.shards.sources.registry import open_source
from tests.jobs.toy_tokens import toy_codebook, toy_shards


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codebook, and clips at three levels: as made, 40 dB lower, and silence."""
    work = tmp_path_factory.mktemp("listen")
    toy_codebook(toy_shards(work, clips=40), work / "book")
    source = open_source("soundscapes:10,clip_s=1")
    clip = next(source.clips(source.tasks()[0]))
    for name, gain in (("loud", 1.0), ("quiet", 0.01), ("silent", 0.0)):
        soundfile.write(work / f"{name}.wav", clip.wave_S * np.float32(gain), clip.rate_hz, subtype="FLOAT")
    return work


def rms(file: Path) -> float:
    return float(np.sqrt(np.mean(np.square(soundfile.read(file)[0]))))


def test_a_file_is_read_through_the_channel_that_its_front_end_takes(tmp_path: Path) -> None:
    left_S, right_S = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16_000)).astype(np.float32)
    soundfile.write(tmp_path / "both.wav", np.stack([left_S, right_S], axis=1), 16_000, subtype="FLOAT")
    read = {name: read_sound(f"{tmp_path}/both.wav", front_end(name)) for name in ("left", "right", "mean")}
    assert np.array_equal(read["left"], left_S)
    assert np.array_equal(read["right"], right_S)
    assert np.allclose(read["mean"], (left_S + right_S) / 2, atol=1e-6)


def front_end(channels: Channels) -> MelConfig:
    return replace(MEL_CONFIGS["speech16k"], channels=channels)


def test_what_is_heard_has_the_level_of_the_clip(work: Path, tmp_path: Path) -> None:
    clips = [f"{work}/{name}.wav" for name in ("loud", "quiet", "silent")]
    assert cli.main(["listen", *clips, "--codebook", f"{work}/book", "--out", str(tmp_path)]) == 0
    for name, near in (("loud", 0.15), ("quiet", 0.01)):  # peaks of the loud one meet full scale
        assert rms(tmp_path / f"{name}-tokens.wav") == pytest.approx(rms(tmp_path / f"{name}-clip.wav"), rel=near)
    assert rms(tmp_path / "silent-tokens.wav") == 0
    wave_S, rate_hz = soundfile.read(tmp_path / "loud-tokens.wav")
    assert len(wave_S) == pytest.approx(len(soundfile.read(tmp_path / "loud-clip.wav")[0]), abs=1024)
    assert rate_hz == 22_050


def test_a_wave_from_mel_has_about_that_mel() -> None:
    config = MEL_CONFIGS["mel22k"]
    seconds_S = np.arange(22_050) / 22_050
    wave_S = (0.3 * np.sin(2 * np.pi * (300 + 500 * seconds_S) * seconds_S)).astype(np.float32)
    mel_TF = LogMel(config)(wave_S)
    again_TF = LogMel(config)(mel_to_wave(mel_TF, config))
    loud_TF = mel_TF > mel_TF.max() - 30
    frames = min(len(mel_TF), len(again_TF))
    error_db = np.abs(again_TF[:frames] - mel_TF[:frames])[loud_TF[:frames]]
    assert np.median(error_db) < 3
    with pytest.raises(UserError, match="kind kaldi cannot be turned back"):
        mel_to_wave(mel_TF, MEL_CONFIGS["ast16k"])


def test_runs_are_the_tokens_in_order_and_cover_the_clip(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tokens", f"{work}/loud.wav", "--codebook", f"{work}/book", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    wave_S, rate_hz = soundfile.read(work / "loud.wav", dtype="float32")
    ids_PQ = AudioTokenizer.from_pretrained(work / "book").encode(wave_S, rate_hz)
    spelt = [run["tokens"] for run in entry["runs"] for _ in range(run["positions"])]
    np.testing.assert_array_equal(np.array(spelt), ids_PQ)
    assert all(one["tokens"] != other["tokens"] for one, other in zip(entry["runs"], entry["runs"][1:], strict=False))
    assert all(one["end_s"] == other["start_s"] for one, other in zip(entry["runs"], entry["runs"][1:], strict=False))
    assert (entry["runs"][0]["start_s"], entry["runs"][-1]["end_s"]) == (0, pytest.approx(1, abs=0.1))
    assert cli.main(["tokens", f"{work}/loud.wav", "--codebook", f"{work}/book"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(entry["runs"])
    assert cli.main(["tokens", f"{work}/gone.wav", "--codebook", f"{work}/book"]) == 2
    assert "there is no file" in capsys.readouterr().err
