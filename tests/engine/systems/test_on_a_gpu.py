"""On a GPU that pretends: every system computes there what it computes on the CPU, and mixes no devices."""

import numpy as np
import pytest
import torch

from tests.engine.pretended_gpu import GPU, OnGpu, PretendedGpu, moved
from tests.engine.systems.test_systems import LABELS, VARIANTS, clips, fresh, logits


def on_gpu(tensor: torch.Tensor) -> torch.Tensor:
    return OnGpu(tensor)


def test_the_pretended_gpu_refuses_what_a_real_one_refuses() -> None:
    there, here = on_gpu(torch.ones(3)), torch.ones(3)
    with PretendedGpu():
        with pytest.raises(RuntimeError, match=r"on the GPU and on the CPU"):
            there + here
        assert (there + here.to(GPU)).device == GPU
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
        with pytest.raises(RuntimeError, match="must be on the CPU"):
            torch.nn.utils.rnn.pack_padded_sequence(on_gpu(torch.ones(1, 3, 2)), on_gpu(torch.tensor([3])), True)


@pytest.mark.parametrize("lengths_moved", [False, True], ids=["one process", "distributed"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_system_computes_on_a_gpu_what_it_computes_on_the_cpu(variant: str, lengths_moved: bool) -> None:
    """DistributedDataParallel moves every tensor that it hands on to its GPU: the lengths as well."""
    batch, model = clips(variant, [30, 17, 40], 40), fresh(variant)
    expected_BL = logits(model, batch).detach()
    there = batch._replace(
        input=on_gpu(batch.input),
        lengths_B=on_gpu(batch.lengths_B) if lengths_moved else batch.lengths_B,
        beside={name: on_gpu(array) for name, array in batch.beside.items()},
    )
    with PretendedGpu(), torch.no_grad():
        found_BL = logits(moved(model), there)
        assert found_BL.device == GPU
        found_BL = found_BL.cpu()
    assert found_BL.shape == (3, LABELS)
    np.testing.assert_allclose(found_BL.detach().numpy(), expected_BL.numpy(), atol=1e-5)
