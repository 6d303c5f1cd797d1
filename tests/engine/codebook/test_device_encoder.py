import numpy as np
import pytest
import torch

from audio_tokens.engine.codebook import device_encoder
from audio_tokens.engine.codebook.device_encoder import DeviceEncoder
from audio_tokens.engine.codebook.nearest.search import torch_gpus
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
    ids_NQ, top_ids_NQM, cosines_NQM = (np.concatenate(arrays) for arrays in zip(*alone, strict=True))
    silent = len(alone[-1].ids_PQ)  # of equal alternatives any may be named
    for together in (encoder(prepared, 3), encoder(prepared)):
        assert together.ids_PQ.dtype == np.uint16
        assert (together.ids_PQ == ids_NQ).mean() > 0.999
        assert (together.ids_PQ[-silent:] == ids_NQ[-silent:]).all()
    together = encoder(prepared, 3)
    assert np.array_equal(together.top_ids_PQM[..., 0], together.ids_PQ)
    assert (together.top_ids_PQM == top_ids_NQM)[:-silent].mean() > 0.999
    assert np.abs(together.top_cosines_PQM.astype(int) - cosines_NQM).max() <= 1


@pytest.mark.skipif(torch_gpus() == 0, reason="torch sees no GPU")
def test_a_tokenizer_on_a_gpu_gives_each_clip_its_own_tokens():
    codebook = fitted("two streams")
    there, here = AudioTokenizer(codebook, 0).encode_mels(MELS, 2), AudioTokenizer(codebook).encode_mels(MELS, 2)
    for tokens, expected in zip(there, here, strict=True):
        assert tokens.ids_PQ.shape == expected.ids_PQ.shape
        assert (tokens.ids_PQ == expected.ids_PQ).mean() > 0.99
