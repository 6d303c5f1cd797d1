"""Laws of the training configuration: later layers win, unknown names and wrong values are refused by name."""

import pytest

from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.errors import UserError


def test_later_layers_win_and_numbers_take_their_fields_type() -> None:
    config = TrainConfig.of({"epochs": 5, "weight_decay": 0.1}, {"epochs": 7, "learning_rate": "3e-4", "clip_norm": 0})
    assert (config.epochs, config.weight_decay, config.learning_rate, config.clip_norm) == (7, 0.1, 3e-4, 0.0)
    assert isinstance(config.clip_norm, float)
    assert TrainConfig.of() == TrainConfig()


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"epoch": 3}, r"unknown training option 'epoch'; did you mean epochs\?"),
        ({"epochs": 0}, "epochs is 0; it must be a number above 0"),
        ({"epochs": 2.5}, "epochs is 2.5; it must be a value of type int"),
        ({"epochs": True}, "epochs is True; it must be a value of type int"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast'; it must be a value of type float"),
        ({"precision": "fp8"}, "precision is fp8; it must be one of auto, fp32, bf16"),
        ({"crop": 0}, "crop is 0.0; it must be a share above 0, up to 1"),
        ({"warmup_share": 1}, "warmup_share is 1.0; it must be a share from 0 to below 1"),
    ],
)
def test_mistakes_are_named(layer: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainConfig.of(layer)
