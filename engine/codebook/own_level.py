"""Decoding with the level of the clip itself: tokens do not hold it. T frames, F mel bands, P positions, Q streams."""

import numpy as np
from jaxtyping import Float, Float32, Integer

from audio_tokens.engine.codebook.tokenizer import AudioTokenizer


def decode_at_level_of(
    tokenizer: AudioTokenizer, mel_TF: Float[np.ndarray, "T F"], ids_PQ: Integer[np.ndarray, "P Q"]
) -> Float32[np.ndarray, "T F"]:
    """Return the mel that a clip's tokens stand for, with what normalising took from the clip: its offset and scale.

    It has as many frames as the clip; those after the last whole stride repeat the last one.
    """
    book, own = tokenizer.codebook, tokenizer.quantizer.prepare(mel_TF)
    normal_TF = (tokenizer.decode(ids_PQ) - book.offset_F) / (book.scale or 1)
    decoded_TF = (normal_TF * own.scale + own.offset_F).astype(np.float32)[: len(mel_TF)]
    return np.pad(decoded_TF, ((0, len(mel_TF) - len(decoded_TF)), (0, 0)), mode="edge")
