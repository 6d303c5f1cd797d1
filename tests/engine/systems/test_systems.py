"""Laws of all systems: masks follow lengths, padding changes nothing, the last frame is read, a saved model lasts."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.registry import CONFIG, SYSTEMS, build, find, load, save
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding, mask_from, slices_of
from audio_tokens.engine.train_config import model_options
from audio_tokens.errors import UserError
from tests.peak_memory import peak_bytes

VOCAB, BANDS, LONGEST, LABELS = (50, 20), 16, 40, 5
# Every system as it is, and those with options that change what it computes.
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {name: (name, {}) for name in SYSTEMS} | {
    "hybrid-bert, rotary": ("hybrid-bert", {"positions": "rotary", "pooling": "mean"}),
    "token-lstm, attention": ("token-lstm", {"pooling": "attention"}),
    "token-lstm, convolutions": ("token-lstm", {"convolutions": 2}),
    "token-lstm, bag": ("token-lstm", {"bag": True}),
    "token-bert, rotary, attention": ("token-bert", {"positions": "rotary", "pooling": "attention"}),
    "token-bert, convolution": ("token-bert", {"conv": 5, "pooling": "mean-max"}),
}


def fresh(variant: str) -> Tagger:
    """A small system in evaluation mode, its weights drawn from a fixed seed."""
    name, options = VARIANTS[variant]
    small = {"width": 16, "layers": 2, "heads": 2, "channels": 4, "kernels": 12, "groups": 5} | options
    own = {key: value for key, value in small.items() if key in find(name).option_names}
    config = TaggerConfig(
        system=name,
        vocab_sizes=VOCAB if "tokens" in SYSTEMS[name].reads else (),
        bands=BANDS if "mel" in SYSTEMS[name].reads else 0,
        longest=LONGEST,
        options=model_options(find(name).options(**own)),
        id2label={i: f"label {i}" for i in range(LABELS)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config).eval()


def clips(variant: str, lengths: list[int], padded_to: int, seed: int = 0) -> Batch:
    """Clips whose entries beyond each length are PAD (or arbitrary mel)."""
    rng = np.random.default_rng(seed)
    mel = torch.from_numpy(rng.normal(size=(len(lengths), padded_to, BANDS)).astype(np.float32))
    ids = np.stack([rng.integers(0, size, (len(lengths), padded_to)) for size in VOCAB], axis=2)
    for row, length in enumerate(lengths):
        ids[row, length:] = VOCAB  # PAD
    reads, targets = SYSTEMS[VARIANTS[variant][0]].reads, torch.eye(len(lengths), LABELS)
    if "tokens" not in reads:
        return Batch(mel, torch.tensor(lengths), targets)
    beside = {"slices_BTD": mel} if "mel" in reads else {}
    return Batch(torch.from_numpy(ids), torch.tensor(lengths), targets, beside)


def logits(model: Tagger, batch: Batch) -> torch.Tensor:
    return model(batch.input, batch.lengths_B, **batch.beside)


def cut(batch: Batch, frames: int) -> Batch:
    """The batch's first positions or frames."""
    beside = {name: array[:, :frames] for name, array in batch.beside.items()}
    return batch._replace(input=batch.input[:, :frames], beside=beside)


@settings(deadline=None, max_examples=8)
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=4), padding=st.integers(0, 30), data=st.data())
@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_and_neighbours_never_change_a_clips_logits(
    variant: str, lengths: list[int], padding: int, data: st.DataObject
) -> None:
    """Defect 3 of the predecessor: masks made after padding were all ones, and its PAD was also centroid 0."""
    model = fresh(variant)
    padded_to = min(LONGEST, max(lengths) + padding)
    batch = clips(variant, lengths, padded_to, seed=data.draw(st.integers(0, 99)))
    with torch.no_grad():
        together = logits(model, batch)
        alone = torch.cat([logits(model, cut(one, n)) for one, n in zip(batch.pieces(1), lengths, strict=True)])
    assert together.shape == (len(lengths), LABELS)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_system_reads_the_last_frame_and_no_further(variant: str) -> None:
    """Defect 4 of the predecessor: its BERT saw the first 512 of 1,723 frames."""
    model = fresh(variant)
    batch = clips(variant, [LONGEST, LONGEST - 9], LONGEST)
    arrays = {"input": batch.input, **batch.beside}
    with torch.no_grad():
        before = logits(model, batch)
        for name, array in arrays.items():
            last, beyond = array.clone(), array.clone()
            for row, length in enumerate(batch.lengths_B.tolist()):
                last[row, length - 1] = (last[row, length - 1] + 3) % 20 if array.dtype == torch.int64 else 5.0
            beyond[1, LONGEST - 9 :] = 7
            moved, unmoved = (
                model(changed.pop("input"), batch.lengths_B, **changed)
                for changed in (arrays | {name: last}, arrays | {name: beyond})
            )
            assert (moved - before).abs().amax(dim=1).min() > 1e-5
            torch.testing.assert_close(unmoved, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_saved_and_loaded_model_gives_identical_logits(variant: str, tmp_path: Path) -> None:
    model = fresh(variant)
    save(model, tmp_path)
    again = load(tmp_path)
    batch = clips(variant, [LONGEST, 7], LONGEST)
    with torch.no_grad():
        assert torch.equal(logits(model, batch), logits(again, batch))
    assert again.config.label_names == [f"label {i}" for i in range(LABELS)]
    assert not again.training


@pytest.mark.parametrize("variant", [name for name, (system, _) in VARIANTS.items() if not SYSTEMS[system].solved])
def test_every_weight_learns(variant: str) -> None:
    """Nothing is born in `forward` (defect 6); no trainable weight is left out of the graph, for DDP would await it."""
    model = fresh(variant).train()
    count = len(list(model.parameters()))
    batch = clips(variant, [LONGEST, 20, 3], LONGEST)
    model.losses(logits(model, batch), batch.targets).sum().backward()
    assert len(list(model.parameters())) == count
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_masks_follow_lengths() -> None:
    mask_BT = mask_from(torch.tensor([1, 3, 5]), 5, torch.device("cpu"))
    assert mask_BT.sum(dim=1).tolist() == [1, 3, 5]
    assert mask_BT.long().cumsum(dim=1).amax(dim=1).tolist() == [1, 3, 5]


def test_pad_cls_and_mask_are_no_tokens() -> None:
    """Of any stream: the model's own three come after the K centroids and are shared with nothing."""
    embed = TokenEmbedding(list(VOCAB), 4)
    rows = [(embed.first_Q + embed.special_Q + which).tolist() for which in (embed.PAD, embed.CLS, embed.MASK)]
    tokens = [set(range(int(first), int(first) + size)) for first, size in zip(embed.first_Q, VOCAB, strict=True)]
    own = [row for three in rows for row in three]
    assert len(set(own)) == 3 * len(VOCAB)
    assert not set(own) & set().union(*tokens)
    assert embed.table.num_embeddings == len(own) + sum(VOCAB)


@settings(deadline=None, max_examples=20)
@given(frames=st.integers(1, 40), context=st.integers(1, 6), stride=st.integers(1, 6))
def test_slices_stack_a_clips_own_frames_to_its_last(frames: int, context: int, stride: int) -> None:
    stride = min(stride, context)
    mel_BTF = torch.arange(50.0)[None, :, None].expand(1, 50, 2)
    slices_BPD, counts_B = slices_of(mel_BTF, torch.tensor([frames]), context, stride)
    seen = slices_BPD[0, : int(counts_B[0]), ::2].long()
    assert set(seen.flatten().tolist()) == set(range(frames))
    assert seen[0].tolist() == [min(i, frames - 1) for i in range(context)]


def test_too_long_a_clip_is_refused_by_a_model_with_learnt_positions() -> None:
    with pytest.raises(UserError, match="a clip of 41 positions exceeds the 40"):
        logits(fresh("token-bert"), clips("token-bert", [LONGEST + 1], LONGEST + 1))


def test_an_unknown_system_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown system 'token-bart'; did you mean token-bert\?"):
        find("token-bart")


def test_what_is_solved_has_no_steps_to_choose_anything_about() -> None:
    solved = {name for name, system in SYSTEMS.items() if system.solved}
    assert solved == {"token-bag", "token-rocket", "token-pairs"}
    for name, system in SYSTEMS.items():
        assert ("epochs" in system.option_names) != (name in solved)
        assert (system.load().solve is not Tagger.solve) == (name in solved)


LAYERS = {
    "token-linear": ["embed", "head"],
    "token-lstm": ["embed", "lstm", "head"],
    "token-bert": ["embed", ".layer.0.", ".layer.1.", "head"],
    "token-lstm, convolutions": ["conv_front", "lstm", "head"],
    "token-bert, rotary, attention": ["embed", ".layers.0.", ".layers.1.", "head"],
    "hybrid-bert": ["project", ".layer.0.", ".layer.1.", "head"],
    "raw-linear": ["layers.0.", "layers.3.", "head"],
    "raw-cnn": [*(f"convolutions.{i}." for i in range(4)), "head"],
    "raw-bert": ["project", ".layer.0.", ".layer.1.", "head"],
    "raw-ast": ["patch_embeddings", ".layers.0.", ".layers.1.", "classifier"],
}


@pytest.mark.parametrize("variant", LAYERS)
def test_a_layers_depth_counts_the_layers_above_it(variant: str) -> None:
    """Fine-tuning slows a layer down by its depth (layer_decay)."""
    model, top = fresh(variant), len(LAYERS[variant]) - 1
    for stage, part in enumerate(LAYERS[variant]):
        depths = {model.depth(name) for name, _ in model.named_parameters() if part in name}
        assert depths == {top - stage}, part


def test_the_registry_is_light() -> None:
    """`--help` and recipes read it, so it must not import torch."""
    import subprocess
    import sys

    heavy = "any(name in sys.modules for name in ('torch', 'sklearn', 'transformers'))"
    code = f"import sys, audio_tokens.engine.systems.registry; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("variant", "option", "value"),
    [("token-bert", "layers", 10**12), ("token-lstm", "convolutions", 10**12), ("token-lstm", "width", 40_000)],
)
def test_a_model_of_a_size_that_its_weights_are_not_of_is_refused_at_once(
    variant: str, option: str, value: int, tmp_path: Path
) -> None:
    save(fresh(variant), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["options"][option] = value
    (tmp_path / CONFIG).write_text(json.dumps(config))
    before = peak_bytes()
    with pytest.raises(UserError, match=r"is damaged \(.*(from \d to 100|another shape)"):
        load(tmp_path)
    assert peak_bytes() < before + 100_000_000  # 40,000 wide would be 50 GB


@pytest.mark.parametrize("variant", VARIANTS)
def test_places_in_tables_are_not_read_from_a_file_that_may_be_damaged(variant: str) -> None:
    saved = {name.rpartition(".")[2] for name in fresh(variant).state_dict()}
    assert not saved & {"first_Q", "special_Q"}


@pytest.mark.parametrize("group", [-1, 5])
def test_damaged_groups_of_pairs_are_refused_as_a_model_is_opened(group: int, tmp_path: Path) -> None:
    model = fresh("token-pairs")
    model.get_buffer("group_K")[3] = group
    save(model, tmp_path)
    with pytest.raises(UserError, match=r"is damaged \(group_K has groups beyond the 5"):
        load(tmp_path)
