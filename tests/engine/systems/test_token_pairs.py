"""token-pairs: its pairs against a slow count, its layer against an exact one; it hears order, and saves its groups."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.soft_tokens import shares
from audio_tokens.engine.systems import clip_features, layer_among_clips
from audio_tokens.engine.systems.options import TokenPairsOptions
from audio_tokens.engine.systems.registry import build, load, save
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag, logistic_regression
from audio_tokens.engine.systems.token_pairs import TokenPairs, grouped
from audio_tokens.engine.train_config import model_options
from audio_tokens.errors import UserError
from tests.engine.clips.test_table import viewed_clips
from tests.engine.systems.test_token_rocket import VOCAB, right, rising_and_falling, solved

LAGS = (1, 4)


def pairs_of(alternatives: int = 1, vocab_sizes: tuple[int, ...] = VOCAB, **options: object) -> TokenPairs:
    config = TaggerConfig(
        system="token-pairs",
        vocab_sizes=vocab_sizes,
        alternatives=alternatives,
        single_label=True,
        options=model_options(TokenPairsOptions(**{"groups": 5, "lags": LAGS, "embedding": "drawn", **options})),
        id2label={i: str(i) for i in range(2)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(config)
    assert isinstance(model, TokenPairs)
    return model.eval()


def soft(lengths: list[int], seed: int = 0) -> Clips:
    """Clips of two alternatives a stream; the first holds the same tokens as if they were plain, where it is sure."""
    rng, positions = np.random.default_rng(seed), sum(lengths)
    ids_PQM = np.stack([np.stack([rng.permutation(size)[:2] for _ in range(positions)]) for size in VOCAB], axis=1)
    rows = rising_and_falling(len(lengths), seed).rows
    assert isinstance(rows, TokenRows)
    return Clips.of(
        TokenRows(
            ids_PQ=ids_PQM.reshape(positions, -1).astype(np.uint16),
            cosines_PQ=rng.integers(120, 250, (positions, 2 * len(VOCAB))).astype(np.uint8),
            starts_R=np.cumsum(lengths) - lengths,
            lengths_R=np.array(lengths),
            labels=rows.labels,
            keys=rows.keys,
            vocab_sizes=tuple(np.repeat(VOCAB, 2).tolist()),
        )
    )


def test_pairs_are_counted_as_one_would_by_hand() -> None:
    """Clip by clip, alternative by alternative; a clip of four positions has no pair four apart, one of one none."""
    lengths = [9, 4, 1, 6]
    clips, model = soft(lengths), pairs_of(alternatives=2)
    batch, rows = clips.batch(np.arange(4)), clips.rows
    found_BLQSS = model.pairs(batch.input, batch.lengths_B).unflatten(1, (len(LAGS), len(VOCAB), 5, 5)).numpy()
    for clip, length in enumerate(lengths):
        at = slice(int(rows.starts_R[clip]), int(rows.starts_R[clip]) + length)
        ids_TQM = rows.ids_PQ[at].reshape(length, len(VOCAB), 2)
        shares_TQM = shares(rows.cosines_PQ[at].reshape(length, len(VOCAB), 2))
        for (level, lag), stream in itertools.product(enumerate(LAGS), range(len(VOCAB))):
            expected_SS, groups = np.zeros((5, 5)), model.group_K[sum(VOCAB[:stream]) :].tolist()
            for first, m, n in itertools.product(range(length - lag), range(2), range(2)):
                i, j = groups[ids_TQM[first, stream, m]], groups[ids_TQM[first + lag, stream, n]]
                expected_SS[i, j] += shares_TQM[first, stream, m] * shares_TQM[first + lag, stream, n]
            expected_SS = np.sqrt(expected_SS / max(1, length - lag) / len(LAGS))
            np.testing.assert_allclose(found_BLQSS[clip, level, stream], expected_SS, rtol=1e-4, atol=1e-6)
    of_stream_BQ = np.square(found_BLQSS).sum(axis=(1, 3, 4))
    np.testing.assert_allclose(of_stream_BQ, np.array([1, 0.5, 0, 1])[:, None].repeat(2, axis=1), atol=1e-5)


def test_a_lag_beyond_every_clip_and_streams_of_fewer_tokens_than_groups_are_nothing_to_stumble_over() -> None:
    learnt = rising_and_falling(12, seed=0)
    model = solved(pairs_of(lags=(100,), groups=10), learnt)
    batch = learnt.batch(np.arange(12))
    bag = solved(TokenBag(pairs_of().config), learnt)
    with torch.no_grad():
        assert not model.pairs(batch.input, batch.lengths_B).any()
        ours_BL, theirs_BL = (each(batch.input, batch.lengths_B).softmax(dim=1) for each in (model, bag))
    torch.testing.assert_close(ours_BL, theirs_BL, rtol=0, atol=0.01)


def test_it_tells_apart_what_differs_in_order_alone_until_positions_are_permuted() -> None:
    learnt, tested = rising_and_falling(60, seed=0), rising_and_falling(200, seed=9)
    model = solved(pairs_of(), learnt)
    assert right(solved(TokenBag(model.config), learnt), tested) < 0.7
    assert right(model, tested) > 0.95
    rng = np.random.default_rng(0)
    runs = np.split(np.asarray(tested.rows.ids_PQ), np.cumsum(tested.lengths_C)[:-1])
    permuted = Clips.of(clip_rows(tested, np.concatenate([rng.permutation(run_TQ) for run_TQ in runs])))
    assert right(model, permuted) < 0.7


def clip_rows(clips: Clips, ids_PQ: np.ndarray) -> TokenRows:
    rows = clips.rows
    assert isinstance(rows, TokenRows)
    return TokenRows(**{**vars(rows), "ids_PQ": ids_PQ})


def test_its_layer_is_the_optimum_among_all_weights_where_clips_have_one_version() -> None:
    learnt = rising_and_falling(40, seed=0)
    model = solved(pairs_of(C=1.0), learnt)
    batch = learnt.batch(np.arange(40))
    with torch.no_grad():
        x_CD, found_CL = model.features(batch.input, batch.lengths_B), model(batch.input, batch.lengths_B)
    weights_DL, bias_L, _ = logistic_regression(x_CD.double().numpy(), batch.targets.numpy(), 1.0, True)
    expected_CL = x_CD.double().numpy() @ weights_DL + bias_L
    centred = [z_CL - z_CL.mean(axis=1, keepdims=True) for z_CL in (found_CL.numpy(), expected_CL)]
    np.testing.assert_allclose(*centred, atol=0.03)


def test_versions_of_a_clip_are_learnt_from_and_a_solution_takes_no_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_among_clips, "MOST_CLIPS", 3)
    clips = viewed_clips([9, 4, 7, 12, 5, 8])
    config = pairs_of(vocab_sizes=clips.rows.vocab_sizes).config
    config.single_label, config.id2label = False, {i: str(i) for i in range(clips.row_labels.count)}
    said: list[str] = []
    models = [build(config) for _ in range(2)]
    models[1].group_K.copy_(models[0].group_K)
    for model in models:
        model.solve(clips, said.append)
    assert torch.equal(models[0].head.weight, models[1].head.weight)
    assert int(torch.linalg.matrix_rank(models[0].head.weight)) <= 3
    assert len([line for line in said if f"{len(clips) * (1 + clips.views)} clips" in line]) == 4


def test_tokens_are_grouped_by_their_centroids_and_the_groups_are_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kind_K = np.arange(VOCAB[0]) % 4
    centroids = [rng.normal(size=(4, 16))[kind_K] + 0.01 * rng.normal(size=(VOCAB[0], 16)), rng.normal(size=(7, 3))]
    vectors = [centroids_KD.astype(np.float32) for centroids_KD in centroids]
    model = pairs_of(groups=4, embedding="centroids")
    model.initialise(vectors)
    alike = model.group_K[:12, None] == model.group_K[:12]
    np.testing.assert_array_equal(alike, kind_K[:, None] == kind_K)
    assert int(model.group_K[12:].max()) < 4
    save(solved(model, rising_and_falling(20, seed=0)), tmp_path)
    batch = rising_and_falling(5, seed=1).batch(np.arange(5))
    with torch.no_grad():
        assert torch.equal(model(batch.input, batch.lengths_B), load(tmp_path)(batch.input, batch.lengths_B))
    assert grouped(vectors[1], 7).tolist() == list(range(7))
    assert grouped(np.ones((9, 3), np.float32), 4).unique().tolist() == [0]  # centroids that are all one
    with pytest.raises(UserError, match=r"\[12\] centroids for tokens of \[12, 7\]"):
        model.initialise(vectors[:1])


def test_options_that_name_no_pair_are_refused() -> None:
    with pytest.raises(UserError, match=r"lags is \[\]"):
        TokenPairsOptions(lags=())
    with pytest.raises(UserError, match="lags is 0; it must be 1 or more"):
        TokenPairsOptions(lags=(4, 0))


def test_a_disk_without_room_is_told_before_the_layer_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_features.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    model, before = pairs_of(), pairs_of().head.weight.clone()
    with pytest.raises(UserError, match=r"the pairs' features need 0\.0 GB.*set TMPDIR.*--subset"):
        model.solve(rising_and_falling(40, seed=3))
    assert torch.equal(model.head.weight, before)
