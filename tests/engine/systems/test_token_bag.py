"""token-bag solves scikit-learn's own objective: same scores, single-label and multi-label, one stream and several."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.soft_tokens import shares
from audio_tokens.engine.systems.registry import build, find
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag
from audio_tokens.engine.train_config import model_options

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


@pytest.mark.parametrize("peaks", [False, True])
def test_what_it_reads_is_counted_clip_by_clip_and_has_length_one(peaks: bool) -> None:
    """Of soft tokens: the sum of each token's shares over the clip's positions, and beside it the highest of them."""
    clips, rng = drawn((12, 7), True)[0], np.random.default_rng(5)
    ids_PQM = np.stack([np.stack([rng.permutation(n)[:2] for _ in clips.rows.ids_PQ]) for n in (12, 7)], axis=1)
    cosines_PQM = rng.integers(120, 250, ids_PQM.shape).astype(np.uint8)
    soft = TokenRows(
        **vars(clips.rows)
        | {
            "ids_PQ": ids_PQM.reshape(len(ids_PQM), 4).astype(np.uint16),
            "cosines_PQ": cosines_PQM.reshape(len(ids_PQM), 4),
            "vocab_sizes": (12, 12, 7, 7),
        }
    )
    batch = Clips.of(soft).batch(np.arange(CLIPS))
    config = TaggerConfig(
        system="token-bag", vocab_sizes=(12, 7), alternatives=2, options={"peaks": peaks}, id2label={0: "a"}
    )
    found_CD = TokenBag(config).contents(batch.input, batch.lengths_B).numpy()
    for clip, (start, length) in enumerate(zip(soft.starts_R, soft.lengths_R, strict=True)):
        share_TK = np.zeros((length, 19))
        for position in range(length):
            for stream, first in enumerate((0, 12)):
                at = start + position, stream
                share_TK[position, first + ids_PQM[at]] = shares(cosines_PQM[at])
        expected = [share_TK.mean(axis=0)]
        if peaks:
            highest_K = share_TK.max(axis=0)
            expected += [highest_K[:12] / highest_K[:12].sum(), highest_K[12:] / highest_K[12:].sum()]
        np.testing.assert_allclose(found_CD[clip], np.sqrt(np.concatenate(expected)), atol=1e-5)
    for each in np.split(np.square(found_CD), [12, 19, 31] if peaks else [12], axis=1):
        np.testing.assert_allclose(each.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("system", ["token-bag", "token-pairs", "token-rocket"])
def test_peaks_tell_a_sound_that_came_once_from_one_that_never_came(system: str) -> None:
    """A hundred positions of noise in both classes; in one of them a single position of a token of its own."""
    rng, length = np.random.default_rng(0), 100
    class_C = np.arange(80) % 2
    ids_CT = rng.integers(0, 11, (80, length))
    ids_CT[class_C == 1, rng.integers(0, length, 40)] = 11
    labels = Labels(ids=class_C, starts_C=np.arange(80), lengths_C=np.ones(80, np.int64), count=2)
    rows = TokenRows(
        ids_PQ=ids_CT.reshape(-1, 1).astype(np.uint16),
        starts_R=np.arange(80) * length,
        lengths_R=np.full(80, length),
        labels=labels,
        keys=[str(c) for c in range(80)],
        vocab_sizes=(12,),
    )
    clips, scores = Clips.of(rows), {}
    learnt, tested = clips.select(np.arange(40)), clips.select(np.arange(40, 80)).batch(np.arange(40))
    for peaks in (False, True):
        own = {"token-pairs": {"groups": 2, "embedding": "drawn"}, "token-rocket": {"kernels": 8}}.get(system, {})
        options = model_options(find(system).options(C=1.0, peaks=peaks, **own))
        config = TaggerConfig(
            system=system, vocab_sizes=(12,), single_label=True, options=options, id2label={0: "a", 1: "b"}
        )
        model = build(config)
        assert isinstance(model, TokenBag)
        model.solve(learnt)
        with torch.no_grad():
            share_BL = model(tested.input, tested.lengths_B).softmax(dim=1)
        scores[peaks] = float((share_BL * tested.targets).sum(dim=1).mean())
    assert scores[True] > scores[False] + 0.05


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
