"""Laws of augmentation: what lies beyond a clip stays there, shares are kept, labels go with what they label."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.augment import augmented, masked_mel, mixed_mel, mixed_tokens, rolled, spans
from engine.clips import Batch
from engine.train_config import TrainConfig

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

    mixed = mixed_tokens(batch, np.random.default_rng(seed))
    for row, length in enumerate(lengths):
        from_whom = mixed.input[row, :length, 0] // 1000 - 1
        shares = torch.bincount(from_whom, minlength=len(lengths)) / length
        torch.testing.assert_close(mixed.targets[row], shares)

    config = TrainConfig(roll=True, mix=0.9, mask=0.3)
    done = augmented(batch, config, (MASK,), np.random.default_rng(seed))
    again = augmented(batch, config, (MASK,), np.random.default_rng(seed))
    assert torch.equal(done.input, again.input)
    assert (done.input[~real_BT] == PAD).all()
    assert not (done.input[real_BT] == PAD).any()
    torch.testing.assert_close(done.targets.sum(dim=1), torch.ones(len(lengths)))
    assert torch.equal(batch.input, token_batch(lengths).input), "the caller's batch is left alone"


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
