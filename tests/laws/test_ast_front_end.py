"""What raw-ast is given, from audio through float16 shards, is what transformers' feature extractor gives AST."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

from audio_tokens.engine.systems.options import RawAstOptions
from audio_tokens.engine.systems.registry import build, find
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.train_config import model_options
from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.training_data import open_data

FRAMES, RATE_HZ = 160, 16_000


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Shards of noise, of a loud sweep and of a quiet tone, 0.5 to 1.5 s long, and the waves they were made from."""
    folder, rng = tmp_path_factory.mktemp("ast"), np.random.default_rng(0)
    lengths = {"a": 0.5, "b": 1.5, "c": 1.0}
    seconds = {name: np.arange(int(length * RATE_HZ)) / RATE_HZ for name, length in lengths.items()}
    waves = {
        "a": 0.1 * rng.standard_normal(len(seconds["a"])),
        "b": 0.9 * np.sin(2 * np.pi * (200 + 2000 * seconds["b"]) * seconds["b"]),
        "c": 1e-3 * np.sin(2 * np.pi * 440 * seconds["c"]) + 1e-5 * rng.standard_normal(len(seconds["c"])),
    }
    lines = ["path,labels,split"]
    for name, wave in waves.items():
        soundfile.write(folder / f"{name}.wav", wave.astype(np.float32), RATE_HZ, subtype="FLOAT")
        lines.append(f"{name}.wav,{name},train")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    words = f"build --source csv:{folder}/list.csv --out {folder}/shards --mel ast16k --workers 1"
    assert cli.main(words.split()) == 0
    return folder / "shards", {name: wave.astype(np.float32) for name, wave in waves.items()}


def test_mel_through_a_shard_equals_the_feature_extractor(waves: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Within 1e-3: float16 keeps 11 bits of values up to 16, and normalising divides by 9."""
    shards, wave_of = waves
    clips, _ = open_data(None, str(shards), find("raw-ast").mel_scale).read(("train",))
    assert len(clips) == 3
    (batch,) = clips.batches([np.arange(3)])
    extractor = ASTFeatureExtractor(max_length=FRAMES)
    for row, (key, length) in enumerate(zip(clips.keys, batch.lengths_B.tolist(), strict=True)):
        expected = extractor(wave_of[key[0]], sampling_rate=RATE_HZ, return_tensors="np")["input_values"][0]
        np.testing.assert_allclose(batch.input[row, :length], expected[:length], rtol=0, atol=1e-3)


def test_logits_from_a_shard_equal_those_from_the_wave(waves: tuple[Path, dict[str, np.ndarray]]) -> None:
    """Padding too: the extractor pads with 0 before it normalises, so that padding is 0.467 and not 0."""
    shards, wave_of = waves
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, max_length=FRAMES,
        num_mel_bins=128, id2label={0: "x", 1: "y"},
    )  # fmt: skip
    reference = ASTForAudioClassification(config).eval()
    clips, _ = open_data(None, str(shards), "audioset").read(("train",))
    options = model_options(RawAstOptions(width=24, layers=2, heads=2, frames=FRAMES))
    model = build(
        TaggerConfig(system="raw-ast", bands=128, longest=FRAMES, options=options, id2label={0: "x", 1: "y"})
    ).eval()
    model.get_submodule("ast").load_state_dict(reference.state_dict())
    (batch,) = clips.batches([np.arange(3)])
    extractor = ASTFeatureExtractor(max_length=FRAMES)
    with torch.no_grad():
        found = model(batch.input, batch.lengths_B)
        for row, key in enumerate(clips.keys):
            inputs = extractor(wave_of[key[0]], sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
            torch.testing.assert_close(found[row], reference(inputs).logits[0], rtol=0, atol=1e-3)
