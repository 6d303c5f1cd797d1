"""Laws of tokens on a device: the same batches as from memory, and nothing of a batch is left on the CPU."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from audio_tokens.engine.clips import device_clips
from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.clips.device_clips import DeviceRows, where_they_train
from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.augment import augmented
from audio_tokens.engine.training.pretraining import MaskedPrediction
from tests.engine.clips.test_table import viewed_clips
from tests.engine.clips.test_token_clips import VOCAB, token_clips

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), data=st.data())
def test_batches_are_those_of_the_clips(lengths: list[int], data: st.DataObject) -> None:
    clips = token_clips(lengths)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6)))
    resident = replace(clips, rows=DeviceRows.on(CPU, clips.rows))
    one = data.draw(st.lists(st.integers(0, len(chosen) - 1), min_size=1, max_size=3))
    for ours, theirs in ((resident, clips), (resident.select(chosen), clips.select(chosen))):
        parts = [chosen] if ours is resident else [np.array(one)]
        for a, b in zip(ours.batches(parts), theirs.batches(parts), strict=True):
            assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a[:3], b[:3], strict=True))
        assert (list(ours.keys), len(ours)) == (list(theirs.keys), len(theirs))
        np.testing.assert_array_equal(ours.lengths_C, theirs.lengths_C)


def test_views_are_drawn_and_listed_on_the_device_too() -> None:
    clips, part = viewed_clips([3, 2, 4]), [np.array([0, 1, 2])]
    resident = replace(clips, rows=DeviceRows.on(CPU, clips.rows))
    pairs = [(resident.drawn(np.random.default_rng(s)), clips.drawn(np.random.default_rng(s))) for s in range(4)]
    pairs += zip(resident.versions(), clips.versions(), strict=True)
    pairs.append((resident.narrowed([1, 3]), clips.narrowed([1, 3])))
    for ours, theirs in pairs:
        for a, b in zip(ours.batches(part), theirs.batches(part), strict=True):
            assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(a[:3], b[:3], strict=True))
    assert len(pairs) == 7


def test_ids_use_all_sixteen_bits() -> None:
    tokens = token_clips([3, 2]).rows
    wide = replace(tokens, ids_PQ=np.full((5, 2), 65_000, np.uint16), vocab_sizes=(65_001, 65_001))
    ids_BTQ, _ = DeviceRows.on(CPU, wide).batch(np.array([0, 1]))
    assert ids_BTQ.unique().tolist() == [65_000, 65_001]


def test_soft_tokens_keep_their_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = token_clips([3, 2]).rows
    soft = replace(tokens, cosines_PQ=np.full(tokens.ids_PQ.shape, 255, np.uint8))
    part = np.array([1, 0])
    monkeypatch.setattr(device_clips, "UPLOADED", 2)
    assert torch.equal(DeviceRows.on(CPU, soft).batch(part)[0], soft.batch(part)[0])


def test_tokens_go_to_a_device_once() -> None:
    """Evaluation asks for what training has uploaded, at every epoch."""
    clips, meta = token_clips([3, 2, 4]), torch.device("meta")
    train, validation = clips.select(np.array([0, 2])), clips.select(np.array([1]))
    first, second, again = (where_they_train(part, meta).rows for part in (train, validation, validation))
    assert first.bits_PQ.device == meta
    assert first.bits_PQ is second.bits_PQ is again.bits_PQ


def test_the_cpu_keeps_its_own_way() -> None:
    clips = token_clips([3, 2])
    assert where_they_train(clips, CPU) is clips


class Copies(TorchDispatchMode):
    """Notes of every copy to a device whether the CPU waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default:
            self.waited.append(not kwargs.get("non_blocking", False))
        return func(*args, **kwargs or {})


def test_mel_for_a_gpu_is_pinned_by_the_reading_thread_and_copied_while_the_cpu_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinned: list[tuple[str, torch.Size]] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append((threading.current_thread().name, tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    clips = Clips.of(
        MelRows(
            fetch=lambda row: np.ones((3 + row, 2), np.float16),
            lengths_R=np.array([3, 4]),
            labels=Labels.one_after_the_other(np.array([0, 1]), np.array([1, 1]), 2),
            keys=["a", "b"],
            bands=2,
        )
    )
    every = np.array([0, 1])
    assert len(list(where_they_train(clips, CPU).batches([every]))) == 1
    assert pinned == []
    (batch,) = where_they_train(clips, torch.device("cuda")).select(every).batches([every])
    assert pinned == [("mel reader", batch.input.shape), ("mel reader", batch.targets.shape)]
    with Copies() as copies:
        assert batch.to(torch.device("meta")).input.device.type == "meta"
    assert copies.waited == [False, False]


@pytest.mark.parametrize("what", ["roll", "mix", "mask", "hide"])
def test_augmentation_stays_on_the_device_of_the_batch(what: str) -> None:
    """On a device without numbers, which refuses what a GPU refuses: two devices in one operation."""
    ids_BTQ = torch.empty(4, 9, 2, dtype=torch.int64, device="meta")
    batch = Batch(ids_BTQ, torch.tensor([9, 3, 5, 1]), torch.empty(4, 5, device="meta"))
    with pytest.raises(RuntimeError, match="device"):
        torch.where(torch.ones(4, 9, 1, dtype=torch.bool), ids_BTQ, ids_BTQ)
    if what == "hide":
        out = MaskedPrediction(vocab_sizes=VOCAB, share=0.3).prepare(batch, np.random.default_rng(0))[0]
    else:
        config = TrainConfig(**{"roll": {"roll": True}, "mix": {"mix": 0.999}, "mask": {"mask": 0.3}}[what])
        out = augmented(batch, config, (11, 7), np.random.default_rng(0))
    assert out.input is not batch.input
    assert (out.input.device.type, out.targets.device.type) == ("meta", "meta")
