"""Laws of the table of clips: whatever is chosen, narrowed and drawn, in any order, a clip keeps what belongs to it."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from tests.engine.clips.test_token_clips import token_clips


def viewed_clips(lengths: list[int], views: int = 1) -> Clips:
    """Clips with views of other lengths, tokens and labels than their own."""
    rows = token_clips(lengths * (1 + views), seed=len(lengths)).rows
    shift = np.arange(len(lengths) * (1 + views)).reshape(1 + views, -1)
    order_R = np.concatenate([np.roll(row, number) for number, row in enumerate(shift)])
    return Clips.of(
        replace(
            rows,
            starts_R=rows.starts_R[order_R],
            lengths_R=rows.lengths_R[order_R],
            labels=rows.labels.select(order_R),
            keys=rows.keys[: len(lengths)],
        )
    )


def contents(clips: Clips) -> list[tuple[str, list, list[float]]]:
    """Key, tokens and targets of every clip, one at a time: the slow obvious way."""
    found = []
    for clip, key in enumerate(clips.keys):
        batch = clips.batch(np.array([clip]))
        found.append((key, batch.input[0].tolist(), batch.targets[0].tolist()))
    return found


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    views=st.integers(0, 3),
    narrow_first=st.booleans(),
    data=st.data(),
)
def test_choices_commute(lengths: list[int], views: int, narrow_first: bool, data: st.DataObject) -> None:
    clips = viewed_clips(lengths, views)
    chosen = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=6)))
    few = [3, 1]
    part = clips.narrowed(few).select(chosen) if narrow_first else clips.select(chosen).narrowed(few)
    assert len(part.versions()) == 1 + views
    for whole, small in zip(clips.versions(), part.versions(), strict=True):
        expected = contents(whole)
        wanted = [(key, ids, [targets[3], targets[1]]) for key, ids, targets in (expected[clip] for clip in chosen)]
        assert contents(small) == wanted
        assert small.lengths_C.tolist() == [len(ids) for _, ids, _ in wanted]
        assert small.labels.table().tolist() == [[share > 0 for share in targets] for *_, targets in wanted]
    drawn = part.drawn(np.random.default_rng(len(lengths)))
    of_clip = zip(*map(contents, part.versions()), strict=True)
    assert all(clip in versions for clip, versions in zip(contents(drawn), of_clip, strict=True))
    assert drawn.views == 0


def test_every_version_is_drawn_as_often() -> None:
    clips = viewed_clips([2, 3, 4] * 20, views=2)
    version_C = np.stack([clips.drawn(np.random.default_rng(seed)).at_C // 60 for seed in range(30)])
    shares = np.bincount(version_C.ravel(), minlength=3) / version_C.size
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)  # 1,800 draws: a deviation of 0.011


def test_choosing_copies_no_tokens() -> None:
    clips = viewed_clips([4, 2, 5])
    for table in (clips.select(np.array([2, 0])), clips.narrowed([1]), clips.drawn(np.random.default_rng(0))):
        assert table.rows is clips.rows


def test_mixed_labels_keep_their_shares() -> None:
    lengths_C = np.array([2, 1])
    labels = Labels.one_after_the_other(np.array([0, 3, 1]), lengths_C, 4, np.array([0.25, 0.75, 1], np.float32))
    clips = Clips.of(replace(token_clips([2, 3]).rows, labels=labels))
    batch = clips.narrowed([3, 0]).batch(np.array([1, 0]))
    assert torch.equal(batch.targets, torch.tensor([[0, 0], [0.75, 0.25]]))
