"""TF32 is a CUDA device's, and only while it is asked for."""

from contextlib import suppress

import pytest
import torch

from audio_tokens.engine.world import tf32


@pytest.mark.parametrize(("device", "within"), [("cuda", "high"), ("cpu", "highest")])
def test_products_are_as_before_afterwards_whatever_happens(device: str, within: str) -> None:
    before, seen = torch.get_float32_matmul_precision(), ""
    with suppress(KeyError), tf32(torch.device(device)):
        seen = torch.get_float32_matmul_precision()
        raise KeyError
    assert (before, seen, torch.get_float32_matmul_precision()) == ("highest", within, "highest")
