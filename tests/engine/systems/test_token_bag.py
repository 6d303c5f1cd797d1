"""token-bag solves scikit-learn's own objective: same scores, single-label and multi-label, one stream and several."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag, histograms

CLIPS, LABELS = 150, 4


def drawn(vocab: tuple[int, ...], single_label: bool) -> tuple[Clips, np.ndarray]:
    """Clips of uneven length whose labels prefer some tokens."""
    rng = np.random.default_rng(len(vocab))
    targets_CL = np.eye(LABELS, dtype=bool)[rng.integers(LABELS, size=CLIPS)]
    if not single_label:
        targets_CL |= rng.random((CLIPS, LABELS)) < 0.2
    lengths_C = rng.integers(1, 40, CLIPS)
    prefer = [rng.dirichlet(np.full(size, 0.3), size=LABELS) for size in vocab]
    runs = [
        np.stack([rng.choice(size, n, p=p[y].mean(axis=0)) for size, p in zip(vocab, prefer, strict=True)], axis=1)
        for n, y in zip(lengths_C, targets_CL, strict=True)
    ]
    counts_C = targets_CL.sum(axis=1)
    labels = Labels(
        ids=np.nonzero(targets_CL)[1], starts_C=np.cumsum(counts_C) - counts_C, lengths_C=counts_C, count=LABELS
    )
    clips = Clips.of(
        TokenRows(
            ids_PQ=np.concatenate(runs).astype(np.uint16),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=labels,
            keys=[str(c) for c in range(CLIPS)],
            vocab_sizes=vocab,
        )
    )
    return clips, targets_CL


@pytest.mark.parametrize("single_label", [True, False])
@pytest.mark.parametrize("vocab", [(12,), (12, 7)])
def test_equals_logistic_regression(vocab: tuple[int, ...], single_label: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    clips, targets_CL = drawn(vocab, single_label)
    config = TaggerConfig(
        system="token-bag",
        vocab_sizes=vocab,
        single_label=single_label,
        options={"C": 10.0},
        id2label={i: str(i) for i in range(LABELS)},
    )
    model = build(config)
    assert isinstance(model, TokenBag)
    model.solve(clips)
    with torch.no_grad():
        batch = clips.batch(np.arange(CLIPS))
        logits_CL = model(batch.input, batch.lengths_B).numpy()

    # the slow obvious features: a loop over clips and streams
    x_CK = np.concatenate(
        [
            np.stack(
                [
                    np.sqrt(np.bincount(clips.rows.ids_PQ[s : s + n, q], minlength=size) / n)
                    for s, n in zip(clips.rows.starts_R, clips.lengths_C, strict=True)
                ]
            )
            for q, size in enumerate(vocab)
        ],
        axis=1,
    )
    solver = LogisticRegression(C=10.0, tol=1e-9, max_iter=10_000)
    if single_label:
        theirs_CL = solver.fit(x_CK, targets_CL.argmax(axis=1)).decision_function(x_CK)
    else:
        theirs_CL = np.stack([solver.fit(x_CK, y).decision_function(x_CK) for y in targets_CL.T], axis=1)
    # both stop at a gradient of about 1e-4, which leaves scores of up to 10 about 1e-3 apart
    if single_label:  # the softmax leaves one constant a clip free
        logits_CL, theirs_CL = (z - z.mean(axis=1, keepdims=True) for z in (logits_CL, theirs_CL))
    np.testing.assert_allclose(logits_CL, theirs_CL, atol=5e-3)


def test_every_streams_histogram_has_length_one() -> None:
    clips, _ = drawn((12, 7), True)
    x_CK = histograms(clips.rows.ids_PQ, clips.lengths_C, [12, 7])
    assert isinstance(x_CK, sparse.csr_array)
    np.testing.assert_allclose(np.square(x_CK.toarray())[:, :12].sum(axis=1), 1)
    np.testing.assert_allclose(np.square(x_CK.toarray())[:, 12:].sum(axis=1), 1)


def test_a_label_without_a_positive_clip_is_never_preferred() -> None:
    clips, _ = drawn((12,), False)
    labels = clips.row_labels.only([0, 1, 3])
    labels = replace(labels, ids=np.where(labels.ids == 2, 3, labels.ids), count=LABELS)  # and 2 is no clip's
    clips = replace(clips, row_labels=labels)
    config = TaggerConfig(
        system="token-bag", vocab_sizes=(12,), options={"C": 10.0}, id2label={i: str(i) for i in range(LABELS)}
    )
    model = build(config)
    assert isinstance(model, TokenBag)
    model.solve(clips)
    batch = clips.batch(np.arange(CLIPS))
    assert model(batch.input, batch.lengths_B)[:, 2].max() < -5
