"""Tokens as simple as recipe `seed` makes them: what a report holds the mel error of a codebook against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.mel_config import MelConfig

SLICES = SliceConfig(normalise="min-max", contexts=(1,), stride=1, whiten_variance=None)  # those of recipes/seed.yaml
CLUSTERS, PASSES = 500, 3
BLOCK_CLIPS = 16


@dataclass
class _InMemory:
    """Clips at hand, as a fit reads them."""

    mels: Sequence[np.ndarray]
    lanes: int = 1

    def blocks(self, lane: int, epoch: int) -> Iterator[list[np.ndarray]]:
        for start in range(0, len(self.mels) if lane < self.lanes else 0, BLOCK_CLIPS):
            yield list(self.mels[start : start + BLOCK_CLIPS])


def simple_tokenizer(mels: Sequence[np.ndarray], mel: MelConfig) -> AudioTokenizer:
    """Return the tokenizer of a codebook that is fitted to `mels`, log mel [T, F] of some clips, in a second or two."""
    frames = sum(map(len, mels))
    kmeans = KMeansConfig(clusters=(min(CLUSTERS, max(1, frames // 4)),), batch_epochs=1, passes=PASSES)
    fit = CodebookFit(_InMemory(mels), mel.to_dict(), SLICES, kmeans)
    *_, last = fit.checkpoints()
    return AudioTokenizer(fit.codebook(last, {}))
