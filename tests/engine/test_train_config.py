"""Laws of a training's configuration: values out of range are refused by name, also where Python makes it."""

import math

import pytest

from audio_tokens.engine.ranges import Range
from audio_tokens.engine.systems.options import TokenBertOptions, TokenLstmOptions
from audio_tokens.engine.train_config import TrainConfig, model_options, training_of
from audio_tokens.errors import UserError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs is 0; it must be 1 or more"),
        ({"crop": 0.0}, "crop is 0.0; it must be above 0, up to 1"),
        ({"warmup_share": 1.0}, "warmup_share is 1.0; it must be from 0 to below 1"),
        ({"learning_rate": math.nan}, "learning_rate is nan; it must be above 0"),
        ({"weight_decay": math.inf}, "weight_decay is inf; it must be 0 or more"),
    ],
)
def test_values_out_of_range_are_named(options: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainConfig(**options)


def test_a_range_holds_its_numbers_and_no_other() -> None:
    for range_, inside, outside in (
        (Range(1), (1, 10**9), (0, math.inf, math.nan)),
        (Range(0, 1), (0, 0.5, 1), (-1e-9, 1.1)),
        (Range(0, 1, above=True, below=True), (1e-9, 0.5), (0, 1)),
    ):
        assert [value for value in inside if value not in range_] == []
        assert [value for value in outside if value in range_] == []


def test_a_systems_options_part_into_model_and_training() -> None:
    options = TokenLstmOptions(width=8, epochs=6)
    assert model_options(options) == {
        "width": 8,
        "dropout": 0.2,
        "pooling": "mean-max",
        "embedding": "drawn",
        "convolutions": 0,
        "bag": False,
    }
    assert training_of(options) == TrainConfig(epochs=6, learning_rate=3e-3)


def test_options_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(UserError, match="width 16 is no multiple of heads 5; change either"):
        TokenBertOptions(width=16, heads=5)
