"""Whitening by how clips and views of them differ: the slow sum, what it does to directions, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.quantizer import Quantizer
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.view_covariance import view_covariances
from audio_tokens.engine.world import World
from audio_tokens.errors import UserError
from tests.engine.codebook.toy_fit import ArrayLanes, in_worlds, toy_mels, toy_pairs

SLICES = SliceConfig(contexts=(3, 4), stride=2, bands=((0, 8), (2, 6)), whiten_by="views", whiten_variance=1.0)
MELS = toy_mels(20)
PAIRS = [toy_pairs(MELS[start : start + 3]) for start in range(0, 20, 3)]
DIMS = (24, 16)


def quantizer() -> Quantizer:
    return Quantizer(SLICES, "cosine", None, ())


def test_covariances_are_those_of_the_slow_sum() -> None:
    found = view_covariances(ArrayLanes(PAIRS), quantizer(), DIMS, World())
    for stream, covariance_DD in enumerate(found):
        rows = []
        for clip_TF, view_TF in (pair for block in PAIRS for pair in block):
            clip, view = (quantizer().slices_of([quantizer().prepare(mel)], stream) for mel in (clip_TF, view_TF))
            for position, slice_D in enumerate(clip):
                at = round(position * (len(view) - 1) / (len(clip) - 1))
                rows.append((slice_D - view[at]).astype(np.float64))
        expected_DD = sum(np.outer(row, row) for row in rows) / (2 * len(rows))
        assert covariance_DD.shape == (DIMS[stream], DIMS[stream])
        np.testing.assert_allclose(covariance_DD, expected_DD, rtol=1e-9, atol=1e-12)


def test_any_number_of_processes_finds_the_same() -> None:
    alone = view_covariances(ArrayLanes(PAIRS), quantizer(), DIMS, World())
    for found in in_worlds(3, lambda world: view_covariances(ArrayLanes(PAIRS), quantizer(), DIMS, world)):
        for one, other in zip(alone, found, strict=True):
            assert np.array_equal(one, other)


def test_what_views_move_counts_less() -> None:
    """Views that move the upper bands alone: a slice's whitened length comes of its lower ones."""
    slices = SliceConfig(normalise="none", contexts=(2,), whiten_by="views", whiten_variance=1.0, unit_length=False)
    rng = np.random.default_rng(0)
    moved = [(clip_TF, clip_TF.copy()) for clip_TF in MELS]
    for _, view_TF in moved:
        view_TF[:, 4:] += rng.normal(scale=5, size=view_TF[:, 4:].shape).astype(np.float16)
    config = KMeansConfig(clusters=(8,), metric="euclidean", chunk_vectors=32)
    fit = CodebookFit(ArrayLanes([MELS]), {"bands": 8}, slices, config, pairs=ArrayLanes([moved]))
    *_, last = fit.checkpoints()
    whitening = last.streams[0].whitening
    assert whitening is not None
    assert whitening.matrix_DE.shape == (16, 16)
    weights_D = np.linalg.norm(whitening.matrix_DE, axis=1).reshape(2, 8)
    assert weights_D[:, :4].min() > 10 * weights_D[:, 4:].max()


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UserError, match="give the fit pairs"):
        CodebookFit(ArrayLanes([MELS]), {"bands": 8}, SLICES, KMeansConfig(clusters=(5, 5)))
    with pytest.raises(UserError, match="no clip that is fitted on has a view"):
        view_covariances(ArrayLanes([[(MELS[0], MELS[1])]], lanes=1), quantizer(), DIMS, World(rank=1))
    fit = CodebookFit(
        ArrayLanes([MELS]),
        {"bands": 8},
        SLICES,
        KMeansConfig(clusters=(5, 5)),
        pairs=ArrayLanes([[(mel, mel + np.float16(3)) for mel in MELS]]),  # mean-std takes the level away
    )
    with pytest.raises(UserError, match="views do not differ"):
        next(fit.checkpoints())
    for fields in ({"whiten_variance": None}, {"whiten_floor": 0.0}):
        with pytest.raises(UserError, match="wants whiten_floor above 0"):
            replace(SLICES, **fields)
