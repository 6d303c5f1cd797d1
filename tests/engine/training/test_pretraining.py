"""Laws of masked-token pre-training: the hidden is not seen, the loss counts tokens, the weights start a tagger."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.options import RawAstOptions, TokenBertOptions
from audio_tokens.engine.systems.registry import build, save
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.train_config import model_options
from audio_tokens.engine.training.pretraining import MaskedPrediction, MaskedTokens, start_from
from audio_tokens.errors import UserError

VOCAB, LONGEST = (11, 7), 30


def config(longest: int = LONGEST, width: int = 16) -> TaggerConfig:
    options = model_options(TokenBertOptions(width=width, heads=2, layers=2, dropout=0.0))
    return TaggerConfig(
        system="token-bert", vocab_sizes=VOCAB, longest=longest, options=options, id2label={0: "a", 1: "b"}
    )


def batch(lengths: list[int]) -> Batch:
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(np.stack([rng.integers(0, k, (len(lengths), max(lengths))) for k in VOCAB], axis=2))
    for row, length in enumerate(lengths):
        ids[row, length:] = torch.tensor(VOCAB)
    return Batch(ids, torch.tensor(lengths), torch.zeros(len(lengths), 2))


@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_hidden_tokens_are_replaced_on_all_streams_and_weighed(lengths: list[int], seed: int) -> None:
    given_batch = batch(lengths)
    shown, weight = MaskedPrediction(vocab_sizes=VOCAB, share=0.3).prepare(given_batch, np.random.default_rng(seed))
    hidden_BT = shown.targets[..., 0] >= 0
    assert weight == hidden_BT.sum() * len(VOCAB)
    assert hidden_BT.any(dim=1).all()
    assert not hidden_BT[torch.arange(max(lengths)) >= shown.lengths_B[:, None]].any()
    assert (shown.input[hidden_BT] == torch.tensor(VOCAB) + 2).all()
    assert torch.equal(shown.input[~hidden_BT], given_batch.input[~hidden_BT])
    assert torch.equal(shown.targets[hidden_BT], given_batch.input[hidden_BT])


def test_the_loss_is_summed_over_hidden_tokens_of_all_streams() -> None:
    torch.manual_seed(0)
    model, objective = MaskedTokens(config()).eval(), MaskedPrediction(vocab_sizes=VOCAB, share=0.4)
    shown, _ = objective.prepare(batch([30, 12]), np.random.default_rng(1))
    logits_NK = model(shown.input, shown.lengths_B, shown.targets[..., 0] >= 0)
    slow, n = 0.0, 0
    for row in range(2):
        for t in range(30):
            if shown.targets[row, t, 0] >= 0:
                first = logits_NK[n, :11].log_softmax(0)[shown.targets[row, t, 0]]
                second = logits_NK[n, 11:].log_softmax(0)[shown.targets[row, t, 1]]
                slow, n = slow - first - second, n + 1
    assert objective.loss_sum(model, shown).item() == pytest.approx(float(slow), rel=1e-5)
    objective.loss_sum(model, shown).backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_tagger_starts_from_the_body_and_keeps_its_own_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = MaskedTokens(config())
    save(body, tmp_path)
    tagger = build(config(longest=40))
    head = tagger.head.weight.clone()
    start_from(tagger, tmp_path)
    theirs, ours = body.state_dict(), tagger.state_dict()
    for key, value in ours.items():
        if key.endswith("position_embeddings.weight"):
            assert torch.equal(value[: LONGEST + 1], theirs[key])
        elif not key.startswith("head."):
            assert torch.equal(value, theirs[key]), key
    assert torch.equal(tagger.head.weight, head)
    with pytest.raises(UserError, match="use one width"):
        start_from(build(config(width=8)), tmp_path)
    with pytest.raises(UserError, match="holds no model"):
        start_from(tagger, tmp_path / "absent")


def test_other_labels_keep_their_own_head_in_raw_ast_too(tmp_path: Path) -> None:
    """Its head lies inside transformers' model; it used to be taken along, and refused for its shape."""
    options = model_options(RawAstOptions(width=16, heads=2, layers=1))
    taggers = [
        build(TaggerConfig(system="raw-ast", bands=32, longest=40, options=options, id2label=names))
        for names in ({0: "a", 1: "b"}, {0: "x", 1: "y", 2: "z"})
    ]
    save(taggers[0], tmp_path)
    start_from(taggers[1], tmp_path)
    theirs, ours = (tagger.get_submodule("ast.audio_spectrogram_transformer").state_dict() for tagger in taggers)
    assert [key for key, value in ours.items() if not torch.equal(value, theirs[key])] == []


def test_layers_that_find_no_place_are_never_lost_in_silence(tmp_path: Path) -> None:
    """Other options give layers other names or numbers; what fitted used to be taken and the rest left as drawn.

    The projection of hybrid-bert, which token-bert has no use for, stays as drawn.
    """
    body = MaskedTokens(config())
    save(body, tmp_path)
    for own in ({"layers": 3}, {"layers": 1}, {"positions": "rotary"}, {"conv": 5}):
        options = model_options(TokenBertOptions(**({"width": 16, "heads": 2, "layers": 2} | own)))
        tagger = TaggerConfig(
            system="token-bert", vocab_sizes=VOCAB, longest=LONGEST, options=options, id2label={0: "a", 1: "b"}
        )
        with pytest.raises(UserError, match="alone; train with the options that"):
            start_from(build(tagger), tmp_path)
    options = model_options(TokenBertOptions(width=16, heads=2, layers=2))
    hybrid = build(
        TaggerConfig(
            system="hybrid-bert",
            vocab_sizes=VOCAB,
            bands=8,
            longest=LONGEST,
            options=options,
            id2label={0: "a", 1: "b"},
        )
    )
    project = hybrid.get_submodule("project").state_dict()["weight"].clone()
    start_from(hybrid, tmp_path)
    assert torch.equal(hybrid.state_dict()["embed.table.weight"], body.state_dict()["embed.table.weight"])
    assert torch.equal(hybrid.state_dict()["project.weight"], project)


def test_lower_layers_have_more_above_them() -> None:
    tagger = build(config())
    depths = {name: tagger.depth(name) for name, _ in tagger.named_parameters()}
    assert depths["head.weight"] == 0
    assert depths["embed.table.weight"] == 3
    assert {depth for name, depth in depths.items() if ".layer.1." in name} == {1}
    assert {depth for name, depth in depths.items() if ".layer.0." in name} == {2}
