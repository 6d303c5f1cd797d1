"""The predecessor's ten defects, each with a test that fails once the defect is put back.

Where it can be done in a few lines a test runs the defect itself, as a fault beside the right way, and shows that the
law tells the two apart; otherwise the docstring names the mutation that turns it red.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.augment import augmented
from engine.clips import Batch
from engine.codebook import Codebook
from engine.conv_bank import ConvBankConfig
from engine.fitting import Fit
from engine.kmeans import KMeans, KMeansConfig
from engine.loop import adamw, rate
from engine.losses import balance
from engine.metrics import score
from engine.nearest import NumpyNearest
from engine.slices import SliceConfig
from engine.systems import SYSTEMS, build, encoder, resolve
from engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from engine.tokenizer import AudioTokenizer
from engine.train_config import TrainConfig
from shards.publish import published_folder
from tests.engine.toy_fit import ArrayLanes, blobs, toy_mels

VOCAB, LONGEST = 30, 40


def token_bert() -> Tagger:
    options = resolve("token-bert", {}, {"width": 16, "layers": 2, "heads": 2})[1]
    config = TaggerConfig(
        system="token-bert", vocab_sizes=(VOCAB,), longest=LONGEST, options=options, id2label={0: "a", 1: "b", 2: "c"}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config).eval()


def clip(length: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(length).integers(0, VOCAB, (1, length, 1)))


def moved(model: nn.Module, a: torch.Tensor, b: torch.Tensor, length: int) -> float:
    with torch.no_grad():
        return float((model(a, torch.tensor([length])) - model(b, torch.tensor([length]))).abs().max())


def test_1_k_means_does_not_follow_the_last_batch() -> None:
    """Fault: `faiss.Kmeans.train` (here scikit-learn's) called anew for every batch, from the last centroids."""
    from sklearn.cluster import KMeans as PerBatch

    x_ND = blobs(0, centres=20, per_centre=60)
    halves = x_ND[:600], x_ND[600:]
    config = KMeansConfig(clusters=(20,), chunk_vectors=16, sample_per_centroid=16)
    *_, state = KMeans(ArrayLanes(np.array_split(x_ND, 30)), 20, config).states()
    ours = NumpyNearest(state.centroids("cosine"), "cosine")
    theirs_KD = halves[0][::30]
    for half in halves:
        theirs_KD = PerBatch(20, init=theirs_KD, n_init=1).fit(half).cluster_centers_
    theirs = NumpyNearest((theirs_KD / np.linalg.norm(theirs_KD, axis=1)[:, None]).astype(np.float32), "cosine")
    lost = [[float(nearest(half)[1].mean()) for half in halves] for nearest in (ours, theirs)]
    assert max(lost[0]) < 0.1
    assert lost[1][0] > 0.2 > 0.1 > lost[1][1], "the fault: the first half is forgotten"


def test_2_every_vector_counts_not_256_a_centroid() -> None:
    """Fault: FAISS as it comes, which samples 256 vectors a centroid and says so in a warning at most."""
    faiss = pytest.importorskip("faiss")
    x_ND = blobs(1, centres=4, per_centre=500)
    *_, state = KMeans(ArrayLanes(np.array_split(x_ND, 40)), 4, KMeansConfig(clusters=(4,), chunk_vectors=16)).states()
    assert state.counts_K.sum() == len(x_ND)
    assert faiss.ClusteringParameters().max_points_per_centroid * 4 < len(x_ND), "the fault: what faiss would look at"


@pytest.mark.parametrize("fault", [False, True])
def test_3_masks_are_made_from_lengths_before_padding(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: a mask of ones as wide as the padded batch, and PAD the id 0, which is centroid 0."""
    if fault:
        monkeypatch.setattr(
            encoder,
            "mask_from",
            lambda lengths_B, longest, device: torch.ones(len(lengths_B), longest, dtype=torch.bool),
        )
    model, short = token_bert(), clip(12)
    padded = torch.full((1, 30, 1), 0 if fault else VOCAB + TokenEmbedding.PAD)
    padded[:, :12] = short
    with torch.no_grad():
        apart = float((model(short, torch.tensor([12])) - model(padded, torch.tensor([12]))).abs().max())
    assert (apart > 1e-3) if fault else (apart < 1e-5)
    assert VOCAB + TokenEmbedding.PAD not in range(VOCAB)


@pytest.mark.parametrize("fault", [False, True])
def test_4_bert_has_a_cls_and_sees_the_whole_clip(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: the first 512 of 1,723 frames (here 12 of 40), position 0 read as if it were a [CLS]."""
    model, whole = token_bert(), clip(LONGEST)
    if fault:
        right = model.encoder.positions
        monkeypatch.setattr(model.encoder, "positions", lambda cls_D, x, n: right(cls_D, x[:, :12], n.clamp(max=12)))
    other = whole.clone()
    other[0, -1, 0] = (other[0, -1, 0] + 1) % VOCAB
    apart = moved(model, whole, other, LONGEST)
    assert (apart == 0) if fault else (apart > 1e-5)
    seen_BUD, mask_BU = token_bert().encoder.positions(torch.zeros(16), torch.zeros(1, 5, 16), torch.tensor([5]))
    assert seen_BUD.shape[1] == mask_BU.shape[1] == 6, "a position of its own before the clip's five"


@pytest.mark.parametrize("fault", [False, True])
def test_5_random_kernels_are_saved_with_the_codebook(
    fault: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: the reader draws the kernels anew from a seed it believes to share."""
    from engine.mel import MEL_CONFIGS

    mels = toy_mels(12, bands=64)
    slices = SliceConfig(conv_bank=ConvBankConfig(kernels=3, kernel_size=3), contexts=(2,), stride=1)
    fit = Fit(ArrayLanes([mels]), MEL_CONFIGS["mel22k"].to_dict(), slices, KMeansConfig(clusters=(6,)))
    *_, state = fit.states()
    codebook = fit.codebook(state, {})
    codebook.save(tmp_path)
    monkeypatch.setattr("engine.conv_bank.generator", lambda *_: np.random.default_rng(99))  # another library's draws
    again = Codebook.load(tmp_path)
    if fault:
        from dataclasses import replace

        from engine.conv_bank import draw_kernels

        again = replace(again, kernels_KW=draw_kernels(slices.conv_bank, 0))
    same = np.array_equal(AudioTokenizer(codebook).encode_mel(mels[0]), AudioTokenizer(again).encode_mel(mels[0]))
    assert same != fault


@pytest.mark.parametrize("system", SYSTEMS)
def test_6_no_layer_is_born_in_forward(system: str) -> None:
    """Fault: `nn.LazyLinear`, or a layer made at the first batch: the optimizer would lack its weight."""
    reads = SYSTEMS[system].reads
    config = TaggerConfig(
        system=system,
        vocab_sizes=(VOCAB,) if "tokens" in reads else (),
        bands=16 if "mel" in reads else 0,
        longest=LONGEST,
        options=resolve(system, {}, {})[1],
        id2label={0: "a", 1: "b"},
    )
    model = build(config)
    assert not [m for m in model.modules() if isinstance(m, nn.modules.lazy.LazyModuleMixin)]
    optimised = {id(p) for group in adamw(model, TrainConfig()).param_groups for p in group["params"]}
    mel = torch.randn(1, 20, 16)
    beside = {"slices_BTD": mel} if len(reads) == 2 else {}
    model(clip(20) if "tokens" in reads else mel, torch.tensor([20]), **beside)
    assert optimised == {id(p) for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("collect", ["append", "extend"])
def test_7_predictions_are_not_flattened_across_clips(collect: str) -> None:
    """Fault: `extend`. Flattened, a table of clips and labels is one long list, whose figures mean nothing."""
    rng, predictions = np.random.default_rng(0), []
    for row in rng.random((6, 4)):
        getattr(predictions, collect)(row)
    targets_CL = np.eye(6, 4, dtype=bool)
    if collect == "append":
        assert score(np.array(predictions), targets_CL).clips == 6
        return
    for shaped in (np.array(predictions), np.array(predictions)[None], np.array(predictions)[:, None]):
        with pytest.raises(Exception, match=r"must both be \[clips, labels\]|Float"):
            score(shaped, targets_CL)


@pytest.mark.parametrize("configured", [527, 543, 534])
def test_8_the_number_of_classes_is_the_datas(configured: int) -> None:
    """Fault: 543 in a configuration, 534 in a README, 527 in the data. No setting holds a count; a wrong one fails."""
    names = [name for system in SYSTEMS.values() for name in (*system.options, *system.train)]
    assert not [name for name in names if "class" in name or "label" in name]
    labels = [f"label {i}" for i in range(527)]
    config = TaggerConfig(
        system="token-linear",
        vocab_sizes=(VOCAB,),
        options=resolve("token-linear", {}, {})[1],
        id2label=dict(enumerate(labels)),
    )
    model = build(config)
    model.head = model.head if configured == 527 else nn.Linear(model.head.in_features, configured)
    logits_CL = model(clip(9), torch.tensor([9])).detach().numpy()
    if configured == 527:
        assert score(logits_CL, np.eye(1, 527, dtype=bool)).clips == 1
        return
    with pytest.raises(Exception, match=r"must both be \[clips, labels\]|Bool"):
        score(logits_CL, np.eye(1, 527, dtype=bool))


@pytest.mark.parametrize("fault", [False, True])
def test_9_nothing_is_deleted_before_its_successor_is_there(fault: bool, tmp_path: Path) -> None:
    """Fault: `shutil.rmtree(out)` before the work starts, so that a crash costs the last result too."""
    out = tmp_path / "tokens"
    out.mkdir()
    (out / "result").write_text("the last one")
    with pytest.raises(RuntimeError, match="power"):  # noqa: PT012 (the crash comes in the midst of the work)
        if fault:
            shutil.rmtree(out)
            out.mkdir()
            raise RuntimeError("power cut")
        with published_folder(out) as folder:
            (folder / "result").write_text("half of the n")
            raise RuntimeError("power cut")
    assert (out / "result").exists() != fault
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


def test_10_there_is_a_schedule_a_batch_and_a_balance() -> None:
    """Fault: a constant rate, batches of 8, every label alike whatever its number of clips."""
    for name, system in SYSTEMS.items():
        config = resolve(name, {}, {})[0]
        rates = [rate(step, config, 10) for step in range(config.epochs * 10)]
        assert rates[0] < 0.5 < max(rates) == 1.0, name
        assert rates[-1] < 0.01, name
        assert config.batch_clips >= 32, name
        assert system.train.get("batch_clips", 32) >= 32
    weights_L = balance(torch.tensor([10_000, 100, 10]))
    assert weights_L[2] > 5 * weights_L[1] > 5 * weights_L[0]
    for choice in ("balanced", "focal", "asymmetric"):
        assert TrainConfig(loss=choice).loss == choice
    assert TrainConfig(sampling="weighted").sampling == "weighted"
    batch = Batch(clip(9), torch.tensor([9]), torch.ones(1, 2))
    assert augmented(batch, TrainConfig(), (VOCAB + 2,), np.random.default_rng(0)) is batch
