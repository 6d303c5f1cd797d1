"""Laws of batches: they hold what the clips hold, padded with PAD or 0; the thread that reads ahead ends and tells."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips import table
from audio_tokens.engine.clips.batch import Batch, ahead
from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows, normalised
from audio_tokens.engine.clips.runs import ragged
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows

VOCAB = (9, 5)


def token_clips(lengths: list[int], seed: int = 0) -> Clips:
    rng = np.random.default_rng(seed)
    lengths_C = np.array(lengths, dtype=np.int64)
    counts_C = rng.integers(0, 3, len(lengths))
    return Clips.of(
        TokenRows(
            ids_PQ=np.stack([rng.integers(0, size, lengths_C.sum()) for size in VOCAB], axis=1).astype(np.uint16),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=Labels(
                ids=rng.integers(0, 4, counts_C.sum()),
                starts_C=np.cumsum(counts_C) - counts_C,
                lengths_C=counts_C,
                count=4,
            ),
            keys=[f"clip-{c}" for c in range(len(lengths))],
            vocab_sizes=VOCAB,
        )
    )


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), data=st.data())
def test_a_batch_holds_its_clips_and_pad(lengths: list[int], data: st.DataObject) -> None:
    clips = token_clips(lengths)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6)))
    batch = clips.batch(chosen)
    assert batch.input.shape == (len(chosen), clips.lengths_C[chosen].max(), len(VOCAB))
    for row, clip in enumerate(chosen.tolist()):
        start, length = clips.rows.starts_R[clip], clips.lengths_C[clip]
        np.testing.assert_array_equal(batch.input[row, :length], clips.rows.ids_PQ[start : start + length])
        assert (batch.input[row, length:] == torch.tensor(VOCAB)).all()
        own = clips.labels.ids[clips.labels.starts_C[clip] :][: clips.labels.lengths_C[clip]]
        assert set(np.flatnonzero(batch.targets[row])) == set(own.tolist())
    part = clips.select(chosen)
    again = part.batch(np.arange(len(chosen)))
    assert all(torch.equal(a, b) for a, b in zip(batch[:3], again[:3], strict=True))
    assert list(part.keys) == [clips.keys[c] for c in chosen]


def test_mel_is_normalised_clip_by_clip() -> None:
    rng = np.random.default_rng(0)
    mels = [(rng.normal(size=(n, 6)) * 9 - 40).astype(np.float16) for n in (5, 8)]
    counts_C = np.array([1, 1])
    labels = Labels(ids=np.array([1, 0]), starts_C=np.array([0, 1]), lengths_C=counts_C, count=2)
    clips = Clips.of(
        MelRows(
            fetch=mels.__getitem__,
            lengths_R=np.array([5, 8]),
            labels=labels,
            keys=["a", "b"],
            bands=6,
        )
    )
    (batch,) = clips.select(np.array([1, 0])).batches([np.array([0, 1])])
    assert batch.lengths_B.tolist() == [8, 5]
    assert (batch.input[1, 5:] == 0).all()
    for row, mel_TF in enumerate(reversed(mels)):
        x = batch.input[row, : len(mel_TF)]
        np.testing.assert_allclose([x.mean(), x.std(correction=0)], [0, 1], atol=1e-3)
        np.testing.assert_allclose(x, normalised(mel_TF))
    assert (normalised(np.full((3, 2), -80, np.float16)) == 0).all()


def test_clips_on_a_disk_are_announced_once_a_window_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "WINDOW_CLIPS", 8)
    told: list[tuple[str, list[int]]] = []

    def fetch(row: int) -> np.ndarray:
        told.append(("read", [row]))
        return np.full((2, 3), row, np.float16)

    labels = Labels(ids=np.zeros(40, np.int64), starts_C=np.arange(40), lengths_C=np.ones(40, np.int64), count=1)
    clips = Clips.of(
        MelRows(
            fetch=fetch,
            will_fetch=lambda rows_B: told.append(("announced", rows_B.tolist())),
            lengths_R=np.full(40, 2),
            labels=labels,
            keys=[str(c) for c in range(40)],
            bands=3,
        )
    ).select(np.arange(40)[::-1].copy())
    parts = np.split(np.random.default_rng(0).permutation(40), range(3, 40, 3))
    batches = list(clips.batches(iter(parts)))
    assert [len(batch.targets) for batch in batches] == [len(part) for part in parts]
    rows = [39 - c for part in parts for c in part.tolist()]
    assert [row for kind, which in told if kind == "read" for row in which] == rows
    assert [row for kind, which in told if kind == "announced" for row in which] == rows
    known: list[int] = []
    for at, (kind, which) in enumerate(told):
        if kind == "announced":
            known += which
        elif at < len(told) - 12:  # but for the last window, more is known than is being read
            assert which[0] in known[:-1]


def test_ragged_of_nothing_and_of_one() -> None:
    none, real = ragged(np.arange(5), np.array([2, 3]), np.array([0, 0]))
    assert none.shape == real.shape == (2, 0)
    one, real = ragged(np.arange(5), np.array([4]), np.array([1]))
    assert one.tolist() == [[4]]
    assert real.all()


def items(count: int, fail_at: int | None = None) -> Iterator[Batch]:
    for i in range(count):
        if i == fail_at:
            raise OSError("the shard went away")
        yield Batch(torch.full((1,), i), torch.ones(1), torch.ones(1))


def readers() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "mel reader"]


def test_reading_ahead_keeps_order_tells_errors_and_leaves_no_thread() -> None:
    assert [int(batch.input) for batch in ahead(items(7), depth=2)] == list(range(7))
    with pytest.raises(OSError, match="the shard went away"):
        list(ahead(items(7, fail_at=3), depth=2))
    abandoned = ahead(items(100), depth=2)
    next(abandoned)
    abandoned.close()
    assert readers() == []
