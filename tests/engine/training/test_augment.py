"""Laws of augmentation: what lies beyond a clip stays there, shares are kept, labels go with what they label."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.tagger import TokenEmbedding
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.augment import (
    augmented,
    cropped,
    dropped,
    masked_mel,
    mixed_embeddings,
    mixed_mel,
    mixed_tokens,
    rolled,
    spans,
)

PAD, MASK = 90, 92


def token_batch(lengths: list[int]) -> Batch:
    """Clip c holds 100 c + position, so that every token tells where it came from; label c."""
    longest = max(lengths)
    ids = torch.full((len(lengths), longest, 1), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length, 0] = 1000 * (row + 1) + torch.arange(length)
    return Batch(ids, torch.tensor(lengths), torch.eye(len(lengths)))


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_token_augmentation_keeps_padding_and_mixes_labels_by_share(lengths: list[int], seed: int) -> None:
    batch = token_batch(lengths)
    real_BT = torch.arange(batch.input.shape[1]) < batch.lengths_B[:, None]

    turned = rolled(batch, np.random.default_rng(seed)).input[..., 0]
    assert turned.sort(dim=1).values.equal(batch.input[..., 0].sort(dim=1).values)
    for row, length in enumerate(lengths):  # the order is a rotation
        steps = turned[row, :length].diff()
        assert ((steps == 1) | (steps == 1 - length)).all()

    run = cropped(batch, 0.4, (MASK,), np.random.default_rng(seed))
    for row, (length, kept) in enumerate(zip(lengths, run.lengths_B.tolist(), strict=True)):
        assert kept == math.ceil(0.4 * length)
        assert set(run.input[row, :kept, 0].diff().tolist()) <= {1}  # a run of the clip
        assert set((run.input[row, :kept, 0] // 1000).tolist()) == {row + 1}
        assert (run.input[row, kept:] == PAD).all()
    assert run.input.shape[1] == run.lengths_B.max()

    mixed = mixed_tokens(batch, np.random.default_rng(seed))
    for row, length in enumerate(lengths):
        from_whom = mixed.input[row, :length, 0] // 1000 - 1
        shares = torch.bincount(from_whom, minlength=len(lengths)) / length
        torch.testing.assert_close(mixed.targets[row], shares)

    config = TrainConfig(roll=True, crop=0.8, mix=0.9, mask=0.3)
    done = augmented(batch, config, (MASK,), np.random.default_rng(seed))
    again = augmented(batch, config, (MASK,), np.random.default_rng(seed))
    assert torch.equal(done.input, again.input)
    real_BT = torch.arange(done.input.shape[1]) < done.lengths_B[:, None]
    assert (done.input[~real_BT] == PAD).all()
    assert not (done.input[real_BT] == PAD).any()
    torch.testing.assert_close(done.targets.sum(dim=1), torch.ones(len(lengths)))
    assert torch.equal(batch.input, token_batch(lengths).input), "the caller's batch is left alone"


def paired_batch(lengths: list[int]) -> Batch:
    """The same beside a mel slice per position that holds the token's number; 0 as padding."""
    batch = token_batch(lengths)
    return batch._replace(beside={"slices_BTD": batch.input.masked_fill(batch.input == PAD, 0).float()})


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_dropped_spans_make_a_clip_shorter_and_keep_its_order(lengths: list[int], seed: int) -> None:
    batch = token_batch(lengths)
    shorter = dropped(batch, 0.4, (MASK,), np.random.default_rng(seed))
    assert shorter.input.shape[1] == shorter.lengths_B.max()
    for row, (length, left) in enumerate(zip(lengths, shorter.lengths_B.tolist(), strict=True)):
        assert 1 <= left <= length
        kept = shorter.input[row, :left, 0] - 1000 * (row + 1)
        assert (kept.diff() > 0).all()
        assert 0 <= kept[0] <= kept[-1] < length
        assert (shorter.input[row, left:] == PAD).all()
    assert torch.equal(batch.input, token_batch(lengths).input), "the caller's batch is left alone"


def test_dropped_spans_take_about_the_share_asked_for() -> None:
    mel_BTF = torch.ones(100, 300, 4)
    shorter = dropped(Batch(mel_BTF, torch.full((100,), 300), torch.eye(100)), 0.3, (), np.random.default_rng(0))
    assert shorter.lengths_B.float().mean() / 300 == pytest.approx(0.7, abs=0.03)
    assert shorter.input.sum() == 4 * shorter.lengths_B.sum(), "mel is padded with 0"


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 30), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_what_lies_beside_a_position_goes_where_it_goes(lengths: list[int], seed: int) -> None:
    config = TrainConfig(roll=True, drop_spans=0.3, mix=0.9, mask=0.3)
    done = augmented(paired_batch(lengths), config, (MASK,), np.random.default_rng(seed))
    ids_BTQ, slices_BTD = done.input, done.beside["slices_BTD"]
    blank = (ids_BTQ == PAD) | (ids_BTQ == MASK)
    assert torch.equal(slices_BTD, ids_BTQ.masked_fill(blank, 0).float())


@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 20), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_blended_embeddings_equal_a_sum_position_by_position(lengths: list[int], seed: int) -> None:
    """Two streams and a slice of mel; every position of a clip is (1 - share) of its own and `share` of another's."""
    rng = np.random.default_rng(seed)
    vocab, embed, targets = [7, 5], TokenEmbedding([7, 5], 4), torch.eye(len(lengths))
    ids = torch.tensor(vocab).repeat(len(lengths), max(lengths), 1)
    slices_BTD = torch.zeros(len(lengths), max(lengths), 3)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.from_numpy(np.stack([rng.integers(0, k, length) for k in vocab], axis=1))
        slices_BTD[row, :length] = torch.from_numpy(rng.normal(size=(length, 3))).float()
    batch = Batch(ids, torch.tensor(lengths), targets, {"slices_BTD": slices_BTD})
    mixed = mixed_embeddings(batch, np.random.default_rng(seed))
    fast = embed(mixed.input, mixed.beside["weights_BTQ"])
    drawn = np.random.default_rng(seed).beta(0.5, 0.5, len(lengths))
    for row, length in enumerate(lengths):
        other = (row - 1) % len(lengths)
        share, theirs = min(drawn[row], 1 - drawn[row]), 0.0
        for t in range(length):
            own = torch.cat([embed(ids[row, t][None, None])[0, 0], slices_BTD[row, t]])
            if t < lengths[other]:
                their = torch.cat([embed(ids[other, t][None, None])[0, 0], slices_BTD[other, t]])
                own, theirs = (1 - share) * own + share * their, theirs + share / length
            found = torch.cat([fast[row, t], mixed.beside["slices_BTD"][row, t]])
            torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-5)
        expected = (1 - theirs) * targets[row] + theirs * targets[other]
        torch.testing.assert_close(mixed.targets[row], expected.float(), atol=1e-6, rtol=1e-5)
    assert torch.equal(mixed.lengths_B, batch.lengths_B)
    assert mixed.beside["weights_BTQ"].sum(dim=2).allclose(torch.tensor(2.0))


def test_a_masked_position_of_two_blended_clips_is_masked_whole() -> None:
    config = TrainConfig(mix=0.99, mix_kind="embeddings", mask=0.5)
    done = augmented(token_batch([30, 30, 12]), config, (MASK,), np.random.default_rng(0))
    assert done.input.shape[2] == 2
    hidden_BTQ = done.input == MASK
    assert hidden_BTQ.any()
    assert torch.equal(hidden_BTQ[..., 0], hidden_BTQ[..., 1])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_spans_cover_about_the_share_asked_for(share: float) -> None:
    lengths_B = np.full(200, 300)
    hidden_BT = spans(lengths_B, 320, share, np.random.default_rng(0))
    assert hidden_BT[:, :300].mean() == pytest.approx(share, abs=0.03)
    assert not hidden_BT[:, 300:].any()


def test_mel_augmentation_blanks_runs_and_keeps_padding() -> None:
    mel_BTF = torch.randn(3, 20, 8)
    lengths_B = torch.tensor([20, 9, 5])
    mel_BTF *= (torch.arange(20) < lengths_B[:, None])[..., None]
    batch = Batch(mel_BTF, lengths_B, torch.eye(3))
    hidden = masked_mel(batch, 0.5, np.random.default_rng(1))
    assert ((hidden.input == 0) | (hidden.input == mel_BTF)).all()
    assert (hidden.input == 0).sum() > (mel_BTF == 0).sum()
    blended = mixed_mel(batch, np.random.default_rng(1))
    assert (blended.input[1, 9:] == 0).all()
    torch.testing.assert_close(blended.targets.sum(dim=1), torch.ones(3))
    assert (blended.targets.diagonal() >= 0.5).all()
