"""Laws of paired clips: every position has the mel its tokens were made from, whatever is chosen and in what order."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips.mel_clips import MelRows, normalised
from audio_tokens.engine.clips.paired_clips import PairedRows
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.codebook.slices import SliceConfig, position_count
from tests.engine.clips.test_token_clips import token_clips


def paired(frames: list[int], slices: SliceConfig, bands: int = 3) -> tuple[Clips, list[np.ndarray]]:
    """Clips of so many frames, whose mel lies in another order than their tokens."""
    rng = np.random.default_rng(0)
    mels = [rng.normal(size=(n, bands)).astype(np.float16) for n in frames]
    tokens = token_clips([position_count(n, slices) for n in frames]).rows
    backwards = np.arange(len(frames))[::-1].copy()
    mel = MelRows(
        fetch=list(reversed(mels)).__getitem__,
        lengths_R=np.array(frames)[::-1].copy(),
        labels=tokens.labels,
        keys=tokens.keys,
        bands=bands,
    )
    return Clips.of(PairedRows(tokens=tokens, mel=mel, mel_rows_R=backwards, slices=slices)), mels


@settings(deadline=None, max_examples=40)
@given(
    frames=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    context=st.integers(1, 6),
    stride=st.integers(1, 6),
    data=st.data(),
)
def test_a_position_has_its_own_frames_beside_its_tokens(
    frames: list[int], context: int, stride: int, data: st.DataObject
) -> None:
    clips, mels = paired(frames, SliceConfig(contexts=(context,), stride=min(stride, context)))
    chosen = np.array(data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=1, max_size=5)))
    (batch,) = clips.select(chosen).batches([np.arange(len(chosen))])
    tokens = Clips.of(clips.rows.tokens).batch(chosen)
    assert torch.equal(batch.input, tokens.input)
    assert torch.equal(batch.targets, tokens.targets)
    assert list(clips.select(chosen).keys) == [clips.keys[clip] for clip in chosen]
    slices_BTD = batch.beside["slices_BTD"].numpy()
    assert slices_BTD.shape == (*batch.input.shape[:2], context * 3)
    for row, clip in enumerate(chosen.tolist()):
        mel_TF = normalised(mels[clip])
        for position in range(int(batch.lengths_B[row])):
            first = position * min(stride, context)
            window = [mel_TF[min(first + step, frames[clip] - 1)] for step in range(context)]
            np.testing.assert_array_equal(slices_BTD[row, position], np.concatenate(window))
        assert (slices_BTD[row, int(batch.lengths_B[row]) :] == 0).all()


def test_pieces_of_a_batch_take_what_lies_beside_with_them() -> None:
    clips, _ = paired([9, 12, 5, 7], SliceConfig(contexts=(4,), stride=2))
    batch = clips.batch(np.arange(4))
    pieces = batch.pieces(3)
    assert [len(piece.lengths_B) for piece in pieces] == [3, 1]
    for name in ("input", "lengths_B", "targets"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), getattr(batch, name))
    together = torch.cat([piece.beside["slices_BTD"] for piece in pieces])
    assert torch.equal(together, batch.beside["slices_BTD"])
