"""Logistic regression by blocks: the exact solver's optimum within the gap that is stated, and the same systems."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.scores.metrics import score
from audio_tokens.engine.systems import clip_features, logistic_in_blocks, token_bag, token_rocket
from audio_tokens.engine.systems.logistic_in_blocks import logistic_regression_in_blocks
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag, logistic_regression
from audio_tokens.errors import UserError
from tests.engine.clips.test_table import viewed_clips
from tests.engine.pretended_gpu import GPU, OnGpu, PretendedGpu, moved
from tests.engine.systems.test_token_rocket import rising_and_falling, rocket

STATED_GAP = 1e-3


def long_tailed(clips: int, features: int, labels: int, single_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features as of histograms, all of them alike; of the labels the rarest has a clip in a hundred, and one none."""
    rng = np.random.default_rng(clips)
    prior_L = 0.5 / np.arange(1, labels + 1) ** 1.2
    if single_label:
        targets_CL = np.eye(labels, dtype=bool)[rng.choice(labels, clips, p=prior_L / prior_L.sum())]
    else:
        targets_CL = rng.random((clips, labels)) < prior_L
        targets_CL[:, labels // 2] = False
    heard_LD = rng.dirichlet(np.full(features, 0.3), size=labels)
    common_D = rng.dirichlet(np.full(features, 0.5))
    shares_CD = targets_CL @ heard_LD + common_D * rng.gamma(1, 2, (clips, 1))
    counts_CD = rng.poisson(60 * shares_CD / shares_CD.sum(axis=1, keepdims=True)) + rng.poisson(0.05, shares_CD.shape)
    counts_CD[:, 0] += 1
    return np.sqrt(counts_CD / counts_CD.sum(axis=1, keepdims=True)).astype(np.float32), targets_CL


def objective(x_CD: np.ndarray, y_CL: np.ndarray, weights_DL: np.ndarray, bias_L: np.ndarray, C: float) -> float:
    z_CL = torch.from_numpy(x_CD @ weights_DL + bias_L)
    y_CL = torch.from_numpy(y_CL.astype(np.float64))
    if (y_CL.sum(dim=1) == 1).all():
        losses = torch.nn.functional.cross_entropy(z_CL, y_CL, reduction="sum")
    else:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(z_CL, y_CL, reduction="sum")
    return float(losses) + float(np.square(weights_DL).sum()) / (2 * C)


@pytest.mark.parametrize("single_label", [True, False])
@pytest.mark.parametrize("C", [1.0, 100.0])
def test_it_reaches_the_optimum_within_the_stated_gap(
    single_label: bool, C: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic_in_blocks, "BLOCK_CLIPS", 256)
    x_CD, targets_CL = long_tailed(2500, 40, 9, single_label)
    x, y = torch.from_numpy(x_CD), torch.from_numpy(targets_CL.astype(np.float32))
    asked: list[int] = []

    def block(clips_B: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(len(clips_B))
        return x[clips_B], y[clips_B]

    said: list[str] = []
    weights_DL, bias_L, loss = logistic_regression_in_blocks(block, np.arange(2500), C, single_label, said.append)
    assert max(asked) == 256
    assert sum(asked) < 60 * 2500
    assert len(said) == 1
    again = logistic_regression_in_blocks(block, np.arange(2500), C, single_label, said.append)
    assert torch.equal(weights_DL, again[0])

    exact_DL, exact_L, exact_loss = logistic_regression(
        x_CD.astype(np.float64), targets_CL.astype(np.float32), C, single_label
    )
    least = objective(x_CD, targets_CL, exact_DL, exact_L, C)
    found = objective(x_CD, targets_CL, weights_DL.numpy(), bias_L.numpy(), C)
    assert found <= least * (1 + STATED_GAP)
    assert loss == pytest.approx(exact_loss, rel=0.02)
    ours, theirs = (
        score(x_CD @ w + b, targets_CL).mAP for w, b in ((weights_DL.numpy(), bias_L.numpy()), (exact_DL, exact_L))
    )
    assert abs(ours - theirs) <= STATED_GAP


def test_features_that_say_nothing_leave_the_labels_frequencies() -> None:
    x, y = torch.zeros(40, 3), torch.eye(2).repeat(20, 1)
    weights_DL, bias_L, loss = logistic_regression_in_blocks(lambda c: (x[c], y[c]), np.arange(40), 1.0, True, print)
    assert not weights_DL.any()
    assert bias_L[0] == bias_L[1]
    assert loss == pytest.approx(np.log(2))


def test_what_falls_short_of_the_optimum_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_in_blocks, "FIRST_PASSES", 2)
    monkeypatch.setattr(logistic_in_blocks, "MOST_PASSES", 3)
    x_CD, targets_CL = long_tailed(600, 20, 5, False)
    x, y = torch.from_numpy(x_CD), torch.from_numpy(targets_CL.astype(np.float32))
    said: list[str] = []
    logistic_regression_in_blocks(lambda clips_B: (x[clips_B], y[clips_B]), np.arange(600), 10.0, False, said.append)
    assert said[1] == "stopped after 3 passes, short of the optimum"


def test_a_gpu_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_in_blocks, "MOST_PASSES", 5)
    x_CD, targets_CL = long_tailed(600, 20, 5, False)
    x, y = torch.from_numpy(x_CD), torch.from_numpy(targets_CL.astype(np.float32))
    expected = logistic_regression_in_blocks(lambda c: (x[c], y[c]), np.arange(600), 10.0, False, print)
    with PretendedGpu():
        found = logistic_regression_in_blocks(
            lambda c: (x[c].to(GPU), y[c].to(GPU)), np.arange(600), 10.0, False, print
        )
        assert isinstance(found[0], OnGpu)
        assert torch.equal(found[0].held, expected[0])


@pytest.fixture
def by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic_in_blocks, "BLOCK_CLIPS", 16)
    for module in (token_bag, token_rocket):
        monkeypatch.setattr(module, "AT_ONCE", 0)


@pytest.mark.parametrize("peaks", [False, True])
def test_features_that_are_held_are_those_made_in_every_pass(
    peaks: bool, by_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = viewed_clips([9, 4, 7, 12, 5, 8])
    held, made = bag(clips, peaks=peaks), bag(clips, peaks=peaks)
    held.solve(clips)
    monkeypatch.setattr(token_bag, "HELD", 0)
    made.solve(clips)
    torch.testing.assert_close(held.state_dict(), made.state_dict())


def bag(clips: Clips, **options: object) -> TokenBag:
    labels = clips.row_labels.count
    config = TaggerConfig(
        system="token-bag",
        vocab_sizes=clips.rows.vocab_sizes,
        options={"C": 10.0, **options},
        id2label={i: str(i) for i in range(labels)},
    )
    return TokenBag(config)


def logits(model: TokenBag, clips: Clips) -> torch.Tensor:
    batch = clips.batch(np.arange(len(clips)))
    with torch.no_grad():
        return model(batch.input, batch.lengths_B)


@pytest.mark.parametrize("system", ["bag", "bag of views", "rocket", "rocket of more features than clips"])
def test_a_system_solved_by_blocks_says_what_it_says_solved_as_a_whole(
    system: str, request: pytest.FixtureRequest
) -> None:
    clips = viewed_clips([9, 4, 7, 12, 5, 8]) if system == "bag of views" else rising_and_falling(70, seed=3)
    kernels = {"rocket": 20, "rocket of more features than clips": 40}.get(system, 0)
    model, other = (rocket(kernels=kernels) if kernels else bag(clips) for _ in range(2))
    model.solve(clips)
    request.getfixturevalue("by_blocks")
    said: list[str] = []
    other.solve(clips, said.append)
    np.testing.assert_allclose(logits(other, clips), logits(model, clips), atol=0.1)
    everything = len(clips) * (1 + clips.views)
    line = rf"{everything} clips, [\d,]+ features, \d labels: in blocks of 16 clips, about [\d.]+ min and [\d.]+ GB"
    among = ["kernels"] * 2 if 3 * kernels > len(clips) else []  # what they span, and the room for it
    whats = ["kernels", "bag", "bag", *among, "kernels"] if kernels else ["bag", "bag"]
    assert [words.split(":")[0] for words in said] == whats
    assert re.fullmatch(f"{whats[-1]}: {line}", said[-1])


@pytest.mark.parametrize("system", ["bag", "rocket"])
def test_a_system_solved_as_a_whole_reads_clips_where_its_layer_is(system: str) -> None:
    clips = rising_and_falling(30, seed=3)
    here, there = (rocket(kernels=4) if system == "rocket" else bag(clips) for _ in range(2))
    here.solve(clips)
    with PretendedGpu():
        moved(there).solve(clips)
        found = there.head.weight.detach().cpu()
    torch.testing.assert_close(found, here.head.weight.detach())


@pytest.mark.usefixtures("by_blocks")
def test_a_disk_without_room_for_the_kernels_features_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = rising_and_falling(70, seed=3)
    monkeypatch.setattr(clip_features.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"features need 0\.0 GB.*set TMPDIR"):
        rocket().solve(clips)
