"""raw-ast is transformers' own model: the same logits, from the same weights, through the loop's inputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ASTConfig, ASTForAudioClassification

from audio_tokens.engine.clips.mel_clips import by_audioset
from audio_tokens.engine.systems.options import RawAstOptions
from audio_tokens.engine.systems.raw_ast import RawAst
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.train_config import model_options
from audio_tokens.errors import UserError

SMALL = {"width": 24, "layers": 2, "heads": 2}


def theirs(folder: Path, frames: int = 64) -> ASTForAudioClassification:
    config = ASTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        max_length=frames,
        num_mel_bins=32,
        id2label={i: str(i) for i in range(5)},
    )
    model = ASTForAudioClassification(config).eval()
    torch.nn.init.normal_(model.audio_spectrogram_transformer.embeddings.position_embeddings)
    model.save_pretrained(folder)
    return model


def ours(longest: int, labels: int = 5, **own: object) -> RawAst:
    options = model_options(RawAstOptions(**(SMALL | own)))
    config = TaggerConfig(
        system="raw-ast", bands=32, longest=longest, options=options, id2label={i: str(i) for i in range(labels)}
    )
    model = build(config)
    assert isinstance(model, RawAst)
    model.initialise()
    return model.eval()


def test_equals_transformers_on_the_same_weights_and_input(tmp_path: Path) -> None:
    reference = theirs(tmp_path)
    model = ours(50, frames=64, weights=str(tmp_path))
    mel_BTF = torch.randn(3, 64, 32)
    lengths_B = torch.tensor([64, 64, 64])
    with torch.no_grad():
        torch.testing.assert_close(model(mel_BTF, lengths_B), reference(mel_BTF).logits, rtol=0, atol=1e-5)
        mel_BTF[1, 40:] = 4.2677393 / (2 * 4.5689974)  # what the feature extractor's zeros become
        short = model(mel_BTF[1:2, :40], torch.tensor([40]))
        torch.testing.assert_close(short, reference(mel_BTF[1:2]).logits, rtol=0, atol=1e-5)


def test_published_weights_serve_other_labels_and_must_fit(tmp_path: Path) -> None:
    reference = theirs(tmp_path)
    model = ours(50, labels=3, frames=64, weights=str(tmp_path))
    body = model.ast.audio_spectrogram_transformer.state_dict()
    for key, value in reference.audio_spectrogram_transformer.state_dict().items():
        assert torch.equal(body[key], value), key
    with pytest.raises(UserError, match="do not fit width, layers, heads, bands or frames"):
        ours(50, frames=80, weights=str(tmp_path))
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        ours(50, frames=64, weights=str(tmp_path))
    with pytest.raises(UserError, match="holds no model"):
        ours(50, frames=64, weights=str(tmp_path / "absent"))


def test_mel_is_scaled_as_the_feature_extractor_does() -> None:
    from transformers import ASTFeatureExtractor

    raw_TF = np.random.default_rng(0).normal(-4, 4, (1024, 128)).astype(np.float16)
    expected = ASTFeatureExtractor().normalize(raw_TF.astype(np.float32))
    np.testing.assert_allclose(by_audioset(raw_TF), expected, atol=1e-5)
