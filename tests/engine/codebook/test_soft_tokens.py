"""Soft tokens: several ids a position, each with a share, through the bag and the embeddings of sequence models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.soft_tokens import shares, unpacked
from audio_tokens.engine.systems.registry import build, find
from audio_tokens.engine.systems.tagger import TaggerConfig, TokenEmbedding
from audio_tokens.engine.train_config import model_options
from audio_tokens.engine.training.augment import masked_tokens, mixed_embeddings, mixed_tokens, rolled

VOCAB, TOP, CLIPS, LABELS = (12, 7), 3, 9, 4


def drawn():
    """Alternatives and cosines of clips of uneven length, best first, and the clips of their soft tokens."""
    rng = np.random.default_rng(0)
    lengths_C = rng.integers(2, 15, CLIPS)
    positions = int(lengths_C.sum())
    top_ids_PQM = np.stack([[rng.choice(size, TOP, replace=False) for size in VOCAB] for _ in range(positions)]).astype(
        np.uint16
    )
    cosines_PQM = np.sort(rng.integers(0, 256, top_ids_PQM.shape), axis=-1)[..., ::-1].astype(np.uint8)
    every = np.arange(CLIPS)
    clips = Clips.of(
        TokenRows(
            ids_PQ=top_ids_PQM.reshape(positions, -1),
            cosines_PQ=cosines_PQM.reshape(positions, -1),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=Labels(ids=every % LABELS, starts_C=every, lengths_C=np.ones(CLIPS, np.int64), count=LABELS),
            keys=[str(clip) for clip in every],
            vocab_sizes=tuple(size for size in VOCAB for _ in range(TOP)),
        )
    )
    return top_ids_PQM, cosines_PQM, clips


def model(system, alternatives=TOP):
    small = {"width": 8, "dropout": 0.0, "layers": 1, "heads": 2}
    own = {key: value for key, value in small.items() if key in find(system).option_names}
    torch.manual_seed(0)
    return build(
        TaggerConfig(
            system=system,
            vocab_sizes=VOCAB,
            alternatives=alternatives,
            longest=20,
            options=model_options(find(system).options(**own)),
            id2label={label: str(label) for label in range(LABELS)},
        )
    ).eval()


def test_packing_loses_nothing_and_shares_add_up():
    top_ids_PQM, cosines_PQM, clips = drawn()
    ids_PQM, shares_PQM = unpacked(clips.rows.tokens(slice(None)), TOP)
    assert np.array_equal(ids_PQM, top_ids_PQM)
    assert np.array_equal(shares_PQM, shares(cosines_PQM))
    assert shares_PQM.sum(axis=-1) == pytest.approx(1, abs=1e-6)


def test_the_bag_counts_shares_and_its_model_sees_what_it_was_solved_on():
    top_ids_PQM, cosines_PQM, clips = drawn()
    bag, batch = model("token-bag"), clips.batch(np.arange(CLIPS))
    x_CK = bag.contents(batch.input, batch.lengths_B).numpy()
    expected_CK = np.zeros((CLIPS, sum(VOCAB)))
    for clip, (start, length) in enumerate(zip(clips.rows.starts_R, clips.lengths_C, strict=True)):
        for position in range(start, start + length):
            for stream, first in enumerate((0, VOCAB[0])):
                share_M = shares(cosines_PQM[position, stream])
                for token, share in zip(top_ids_PQM[position, stream], share_M, strict=True):
                    expected_CK[clip, first + token] += share / length
    assert np.abs(x_CK - np.sqrt(expected_CK)).max() < 1e-6
    with torch.no_grad():
        logits_CL = bag(batch.input, batch.lengths_B)
        expected_CL = torch.from_numpy(x_CK).float() @ bag.head.weight.T + bag.head.bias
    assert (logits_CL - expected_CL).abs().max() < 1e-5


def test_an_embedding_is_the_mean_of_its_alternatives_by_their_shares():
    top_ids_PQM, cosines_PQM, clips = drawn()
    torch.manual_seed(0)
    embed = TokenEmbedding(list(VOCAB), 5, TOP)
    table = embed.table.weight.detach().numpy()
    expected_PD = sum(
        (table[top_ids_PQM[:, stream].astype(int) + first] * shares(cosines_PQM[:, stream])[..., None]).sum(axis=1)
        for stream, first in enumerate((0, VOCAB[0] + 3))
    )
    got_PD = embed(torch.from_numpy(clips.rows.tokens(slice(None)).astype(np.int64))[None])[0].detach().numpy()
    assert np.abs(got_PD - expected_PD).max() < 1e-5


@pytest.mark.parametrize(
    "system", ["token-bag", "token-rocket", "token-pairs", "token-linear", "token-lstm", "token-bert"]
)
def test_one_sure_alternative_is_the_plain_token_and_padding_changes_nothing(system):
    top_ids_PQM, _, clips = drawn()
    equal_PQM = np.repeat(top_ids_PQM[..., :1], TOP, axis=-1)  # every alternative is the token itself
    equal_PQ = equal_PQM.reshape(len(equal_PQM), -1)
    soft = Clips.of(replace(clips.rows, ids_PQ=equal_PQ, cosines_PQ=np.full(equal_PQ.shape, 200, np.uint8)))
    plain_PQ = np.ascontiguousarray(top_ids_PQM[..., 0])
    plain = Clips.of(replace(clips.rows, ids_PQ=plain_PQ, cosines_PQ=None, vocab_sizes=VOCAB))
    every = np.arange(CLIPS)
    with torch.no_grad():
        batch, hard = soft.batch(every), plain.batch(every)
        logits = model(system)(batch.input, batch.lengths_B)
        assert (logits - model(system, 1)(hard.input, hard.lengths_B)).abs().max() < 1e-5
        shortest = clips.batch(np.array([int(clips.lengths_C.argmin())]))
        padded = clips.batch(np.array([int(clips.lengths_C.argmin()), int(clips.lengths_C.argmax())]))
        alone, beside = (model(system)(part.input, part.lengths_B)[0] for part in (shortest, padded))
        assert (alone - beside).abs().max() < 1e-5


def test_augmentations_move_alternatives_with_their_shares_and_mask_all_of_them():
    _, _, clips = drawn()
    batch, rng = clips.batch(np.arange(CLIPS)), np.random.default_rng(1)
    rows = {tuple(row) for clip in batch.input.tolist() for row in clip}
    for moved in (rolled(batch, rng), mixed_tokens(batch, rng)):
        assert {tuple(row) for clip in moved.input.tolist() for row in clip} <= rows
        assert not torch.equal(moved.input, batch.input)
    embed = TokenEmbedding(list(VOCAB), 5, TOP)
    blended = mixed_embeddings(batch, np.random.default_rng(2))
    weights_BT2 = blended.beside["weights_BTQ"][..., [0, -1]]
    own, other = embed(batch.input), embed(batch.input.roll(1, dims=0))
    expected = own * weights_BT2[..., :1] + other * weights_BT2[..., 1:]
    assert (embed(blended.input, **blended.beside) - expected).abs().max() < 1e-5
    mask_ids = tuple(size + TokenEmbedding.MASK for size in clips.rows.vocab_sizes)
    hidden = masked_tokens(batch, 0.5, mask_ids, rng).input
    masked_BT = (hidden != batch.input).all(dim=2)
    assert masked_BT.any()
    expected_D = embed.special(TokenEmbedding.MASK)
    assert (embed(hidden)[masked_BT] - expected_D).abs().max() < 1e-5
