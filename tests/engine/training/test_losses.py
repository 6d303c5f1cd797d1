"""Laws of the losses and of the weights that make rare labels count."""

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.clip_weights import clip_weights
from audio_tokens.engine.training.losses import balance, loss_of
from audio_tokens.shards.plan import weighted_order

POSITIVES = torch.tensor([1000, 100, 10, 0])
LOGITS, TARGETS = torch.randn(6, 4), (torch.rand(6, 4) < 0.4).float()


def test_plain_is_pytorchs_own() -> None:
    loss = loss_of(TrainConfig(), POSITIVES, single_label=False)
    theirs = torch.nn.BCEWithLogitsLoss()(LOGITS, TARGETS)
    torch.testing.assert_close(loss(LOGITS, TARGETS).mean(), theirs)
    one = torch.eye(4)[torch.tensor([0, 1, 2, 3, 0, 1])]
    loss = loss_of(TrainConfig(label_smoothing=0.1), POSITIVES, single_label=True)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(LOGITS, one.argmax(dim=1))
    torch.testing.assert_close(loss(LOGITS, one).mean(), theirs)


def test_rare_labels_weigh_more_and_the_mean_weight_is_one() -> None:
    weights_L = balance(POSITIVES)
    assert weights_L.tolist() == sorted(weights_L.tolist())
    assert weights_L.mean() == pytest.approx(1.0)
    effective = [(1 - 0.999**n) / (1 - 0.999) for n in (1000, 100, 10, 1)]  # Cui et al. 2019, equation 4
    np.testing.assert_allclose(weights_L / weights_L[0], effective[0] / np.array(effective), rtol=1e-5)


def labels() -> Labels:
    sets = [[0], [0, 1], [], [0], [1, 2]]
    counts = np.array([len(s) for s in sets])
    return Labels(
        ids=np.array([label for s in sets for label in s]),
        starts_C=np.cumsum(counts) - counts,
        lengths_C=counts,
        count=3,
    )


def test_a_clips_weight_is_the_sum_over_its_labels() -> None:
    one, two, three = (1000 / (n + 0.01) for n in (1, 2, 3))
    expected = [three, three + two, three, three, two + one]  # the clip without a label weighs as the lightest
    np.testing.assert_allclose(clip_weights(labels()), expected)
    part = labels().select(np.array([4, 0]))
    np.testing.assert_allclose(clip_weights(part), [2 * one, one])
    assert part.counts().tolist() == [1, 1, 1]


def test_weighted_draws_follow_the_weights_and_repeat_themselves() -> None:
    weights_C = np.array([1.0, 2.0, 0.0, 5.0])
    draws = np.concatenate([weighted_order(4, 0, epoch, weights_C=weights_C) for epoch in range(4000)])
    np.testing.assert_allclose(np.bincount(draws, minlength=4) / len(draws), weights_C / 8, atol=0.02)
    assert (
        weighted_order(4, 0, 7, weights_C=weights_C).tolist() == weighted_order(4, 0, 7, weights_C=weights_C).tolist()
    )
