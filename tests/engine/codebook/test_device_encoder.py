import numpy as np
import pytest
import torch

from audio_tokens.engine.codebook import device_encoder
from audio_tokens.engine.codebook.device_encoder import DeviceEncoder
from audio_tokens.engine.codebook.nearest.search import torch_gpus
from audio_tokens.engine.codebook.soft_tokens import Tokens
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from tests.engine.codebook.test_tokenizer import MELS, RECIPES, fitted

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(torch_gpus() == 0, reason="torch sees no GPU"))]
SILENCE_TF = np.full((30, 8), -100, np.float32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_all_clips_at_once_have_the_tokens_that_each_has_alone(recipe, device, monkeypatch):
    monkeypatch.setattr(device_encoder, "TILE_SCORES", 1000)  # several tiles
    tokenizer = AudioTokenizer(fitted(recipe))
    clips = [*MELS[:12], SILENCE_TF]
    encoder = DeviceEncoder(tokenizer.codebook, torch.device(device))
    prepared = [tokenizer.quantizer.prepare(mel_TF) for mel_TF in clips]
    alone = tokenizer.encode_mels(clips, 3)
    silent = len(alone) - 1  # of its equal alternatives any may be named
    several = encoder(prepared, 3)
    for together in (several, encoder(prepared)):
        assert all(tokens.ids_PQ.dtype == np.uint16 for tokens in together)
        assert equal(together, alone, "ids_PQ") > 0.999
        assert (together[silent].ids_PQ == alone[silent].ids_PQ).all()
    assert all(np.array_equal(tokens.top_ids_PQM[..., 0], tokens.ids_PQ) for tokens in several)
    assert equal(several[:silent], alone[:silent], "top_ids_PQM") > 0.999
    for tokens, expected in zip(several, alone, strict=True):
        assert np.abs(tokens.top_cosines_PQM.astype(int) - expected.top_cosines_PQM).max() <= 1


def equal(some: list[Tokens], others: list[Tokens], name: str) -> float:
    """Return the share of equal numbers in an array of all clips; all must have the same shapes."""
    one, other = ([getattr(tokens, name) for tokens in tokens_C] for tokens_C in (some, others))
    assert [array.shape for array in one] == [array.shape for array in other]
    return float((np.concatenate(one) == np.concatenate(other)).mean())


@pytest.mark.skipif(torch_gpus() == 0, reason="torch sees no GPU")
def test_a_tokenizer_on_a_gpu_gives_each_clip_its_own_tokens():
    codebook = fitted("two streams")
    there, here = AudioTokenizer(codebook, 0).encode_mels(MELS, 2), AudioTokenizer(codebook).encode_mels(MELS, 2)
    assert equal(there, here, "ids_PQ") > 0.99
