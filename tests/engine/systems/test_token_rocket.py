"""token-rocket: its responses against the sum they stand for; it hears an order that the bag of tokens cannot."""

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.systems.options import TokenRocketOptions
from audio_tokens.engine.systems.registry import build
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.systems.token_bag import TokenBag
from audio_tokens.engine.systems.token_rocket import DILATIONS, TAPS, TokenRocket
from audio_tokens.engine.train_config import model_options
from audio_tokens.errors import UserError

VOCAB = (12, 7)


def rocket(labels: int = 2, **options: object) -> TokenRocket:
    config = TaggerConfig(
        system="token-rocket",
        vocab_sizes=VOCAB,
        single_label=True,
        options=model_options(TokenRocketOptions(**{"kernels": 40, **options})),
        id2label={i: str(i) for i in range(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(config)
    assert isinstance(model, TokenRocket)
    return model.eval()


def rising_and_falling(count: int, seed: int) -> Clips:
    """Every clip holds the same tokens of the first stream, climbing in one class, falling in the other."""
    rng = np.random.default_rng(seed)
    class_C = np.arange(count) % 2
    lengths_C = rng.integers(24, 48, count)
    runs = []
    for climbs, length in zip(class_C, lengths_C, strict=True):
        climb_T = (np.arange(length) + rng.integers(12)) % 12
        runs.append(np.stack([climb_T if climbs else 11 - climb_T, rng.integers(0, 7, length)], axis=1))
    labels = Labels(ids=class_C, starts_C=np.arange(count), lengths_C=np.ones(count, np.int64), count=2)
    return Clips.of(
        TokenRows(
            ids_PQ=np.concatenate(runs).astype(np.uint16),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=labels,
            keys=[str(c) for c in range(count)],
            vocab_sizes=VOCAB,
        )
    )


def solved(model: TokenBag, clips: Clips) -> TokenBag:
    model.solve(clips)
    return model


def right(model: TokenBag, clips: Clips) -> float:
    batch = clips.batch(np.arange(len(clips)))
    with torch.no_grad():
        logits_BL = model(batch.input, batch.lengths_B)
    return float((logits_BL.argmax(dim=1) == batch.targets.argmax(dim=1)).float().mean())


def test_responses_are_the_sums_they_stand_for() -> None:
    """Position by position, tap by tap, tokens at the ends repeated; every dilation has its share of the kernels."""
    model, clips = rocket(), rising_and_falling(3, seed=1)
    batch = clips.batch(np.arange(3))
    table = model.embed.table.weight
    found_BTN = model.responses(batch.input, batch.lengths_B)
    dilation_N = np.repeat(DILATIONS, [len(part) for part in np.array_split(np.arange(40), len(DILATIONS))])
    for row, length in enumerate(batch.lengths_B.tolist()):
        for position in range(length):
            expected_N = torch.zeros(40)
            for kernel in range(40):
                for tap in range(TAPS):
                    at = position + (tap - TAPS // 2) * int(dilation_N[kernel])
                    first, second = batch.input[row, min(max(at, 0), length - 1)].tolist()
                    heard = table[first, kernel] + table[VOCAB[0] + 3 + second, kernel]
                    expected_N[kernel] += heard * model.taps_JN[tap, kernel]
            torch.testing.assert_close(found_BTN[row, position], expected_N, rtol=1e-4, atol=1e-5)


def test_every_kernel_hears_one_stream_and_no_level_that_stays() -> None:
    model = rocket()
    assert (model.hears_QN.sum(dim=0) == 1).all()
    assert (model.hears_QN.sum(dim=1) > 0).all()
    constant = torch.full((1, 30, 2), 3)
    assert model.responses(constant, torch.tensor([30])).abs().max() < 1e-4


def test_it_tells_apart_what_differs_in_order_alone() -> None:
    learnt, tested = rising_and_falling(60, seed=0), rising_and_falling(200, seed=9)
    bag = TokenBag(rocket().config)
    assert right(solved(bag, learnt), tested) < 0.7
    assert right(solved(rocket(), learnt), tested) > 0.95


def test_the_bag_in_it_is_the_bag() -> None:
    learnt = rising_and_falling(30, seed=0)
    bag, whole = solved(TokenBag(rocket().config), learnt), solved(rocket(share=0.0), learnt)
    batch = learnt.batch(np.arange(30))
    with torch.no_grad():
        torch.testing.assert_close(bag(batch.input, batch.lengths_B), whole(batch.input, batch.lengths_B))


def test_features_are_evened_for_one_strength_of_l2() -> None:
    """Over the clips it was solved on: mean 0, and a mean square of all features together near 2, one for each kind."""
    learnt = rising_and_falling(60, seed=0)
    model = rocket()
    solved(model, learnt)
    batch = learnt.batch(np.arange(60))
    with torch.no_grad():
        x_BD = (model.features(batch.input, batch.lengths_B) - model.mean_D) / model.spread_D
    assert x_BD.mean(dim=0).abs().max() < 1e-4
    assert 1.2 < float(x_BD.square().sum(dim=1).mean()) <= 2.0


def test_kernels_hear_spectra_where_asked() -> None:
    rng = np.random.default_rng(0)
    spectra = [rng.normal(size=(size, 16)).astype(np.float32) for size in VOCAB]
    spectra[0][4] = spectra[0][9]  # tokens that sound alike are heard alike
    model = rocket(embedding="spectra")
    model.initialise(spectra)
    torch.testing.assert_close(model.embed.table.weight[4], model.embed.table.weight[9])
    assert not torch.equal(model.embed.table.weight[4], model.embed.table.weight[5])
    with pytest.raises(UserError, match=r"\[12\] spectra for tokens of \[12, 7\]"):
        model.initialise(spectra[:1])
