"""The predecessor's ten defects, each with a test that fails once the defect is put back.

Where it can be done in a few lines a test runs the defect itself, as a fault beside the right way, and shows that the
law tells the two apart; otherwise the docstring names the mutation that turns it red.
"""

import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from torch import nn

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.conv_bank import ConvBankConfig
from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.kmeans.problem import Problem
from audio_tokens.engine.codebook.kmeans.streamed_kmeans import states
from audio_tokens.engine.codebook.nearest.numpy_search import NumpyNearest
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.scores.metrics import check, score
from audio_tokens.engine.systems import encoder
from audio_tokens.engine.systems.options import TokenBertOptions
from audio_tokens.engine.systems.registry import SYSTEMS, build, find
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, TokenEmbedding
from audio_tokens.engine.train_config import TrainConfig, model_options, training_of
from audio_tokens.engine.training.augment import augmented
from audio_tokens.engine.training.losses import balance
from audio_tokens.engine.training.optimizer import adamw, rate
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.shards.publish import published_folder
from audio_tokens.shards.sources.registry import open_source
from tests.engine.codebook.toy_fit import ArrayLanes, blobs, toy_mels
from tests.jobs.toy_tokens import toy_codebook, toy_shards
from tests.shards.sources.audio_sets import DOG, Listed, write_parquet

VOCAB, LONGEST = 30, 40


def token_bert() -> Tagger:
    options = model_options(TokenBertOptions(width=16, layers=2, heads=2))
    config = TaggerConfig(
        system="token-bert", vocab_sizes=(VOCAB,), longest=LONGEST, options=options, id2label={0: "a", 1: "b", 2: "c"}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config).eval()


def clip(length: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(length).integers(0, VOCAB, (1, length, 1)))


def two_clips(*lengths: int) -> Clips:
    lengths_C = np.array(lengths)
    none = np.zeros(len(lengths), np.int64)
    return Clips.of(
        TokenRows(
            ids_PQ=np.random.default_rng(0).integers(0, VOCAB, (lengths_C.sum(), 1)).astype(np.uint16),
            starts_R=np.cumsum(lengths_C) - lengths_C,
            lengths_R=lengths_C,
            labels=Labels(ids=none, starts_C=none, lengths_C=none, count=1),
            keys=[str(number) for number in range(len(lengths))],
            vocab_sizes=(VOCAB,),
        )
    )


def moved(model: nn.Module, a: torch.Tensor, b: torch.Tensor, length: int) -> float:
    with torch.no_grad():
        return float((model(a, torch.tensor([length])) - model(b, torch.tensor([length]))).abs().max())


def test_1_k_means_does_not_follow_the_last_batch() -> None:
    """Fault: `faiss.Kmeans.train` (here scikit-learn's) called anew for every batch, from the last centroids."""
    from sklearn.cluster import KMeans as PerBatch

    x_ND = blobs(0, centres=20, per_centre=60)
    halves = x_ND[:600], x_ND[600:]
    config = KMeansConfig(clusters=(20,), chunk_vectors=16, sample_per_centroid=16)
    *_, state = states(Problem(ArrayLanes(np.array_split(x_ND, 30)), 20, config))
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
    x_ND = blobs(1, centres=4, per_centre=500)
    *_, state = states(Problem(ArrayLanes(np.array_split(x_ND, 40)), 4, KMeansConfig(clusters=(4,), chunk_vectors=16)))
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
    model, clips = token_bert(), two_clips(12, 30)
    alone, together = clips.batch(np.array([0])), clips.batch(np.array([0, 1]))
    padding = together.input[0, 12:]
    assert padding.shape == (18, 1)
    assert (padding == VOCAB + TokenEmbedding.PAD).all()
    assert (padding >= VOCAB).all(), "no centroid's number"
    if fault:
        padding[:] = 0
    with torch.no_grad():
        apart = float((model(*alone[:2])[0] - model(*together[:2])[0]).abs().max())
    assert (apart > 1e-4) if fault else (apart < 1e-5)


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
    from audio_tokens.engine.sound.log_mel import MEL_CONFIGS

    mels = toy_mels(12, bands=64)
    slices = SliceConfig(conv_bank=ConvBankConfig(kernels=3, kernel_size=3), contexts=(2,), stride=1)
    fit = CodebookFit(ArrayLanes([mels]), MEL_CONFIGS["mel22k"].to_dict(), slices, KMeansConfig(clusters=(6,)))
    *_, state = fit.checkpoints()
    codebook = fit.codebook(state, {})
    codebook.save(tmp_path)
    other_draws = np.random.default_rng(99)  # as of another version of the library
    monkeypatch.setattr("audio_tokens.engine.codebook.conv_bank.generator", lambda *_: other_draws)
    again = Codebook.load(tmp_path)
    if fault:
        from dataclasses import replace

        from audio_tokens.engine.codebook.conv_bank import draw_kernels

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
        options=model_options(find(system).options()),
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
    """Fault: `extend`. Flattened, a table of clips and labels is one long list, whose figures mean nothing.

    `check` is asked too, since outside of tests no types are.
    """
    rng, predictions = np.random.default_rng(0), []
    for row in rng.random((6, 4)):
        getattr(predictions, collect)(row)
    targets_CL = np.eye(6, 4, dtype=bool)
    if collect == "append":
        assert score(np.array(predictions), targets_CL).clips == 6
        return
    for shaped in (np.array(predictions), np.array(predictions)[None], np.array(predictions)[:, None]):
        with pytest.raises(ValueError, match=r"must both be \[clips, labels\]"):
            check(shaped, targets_CL)
        with pytest.raises(Exception, match=r"must both be \[clips, labels\]|Float"):
            score(shaped, targets_CL)


@pytest.mark.parametrize("configured", [527, 543, 534])
def test_8_the_number_of_classes_is_the_datas(configured: int) -> None:
    """Fault: 543 in a configuration, 534 in a README, 527 in the data. No setting holds a count; a wrong one fails."""
    names = {name for system in SYSTEMS.values() for name in system.option_names}
    assert {name for name in names if "class" in name or "label" in name} == {"label_smoothing"}
    labels = [f"label {i}" for i in range(527)]
    config = TaggerConfig(
        system="token-linear",
        vocab_sizes=(VOCAB,),
        options=model_options(find("token-linear").options()),
        id2label=dict(enumerate(labels)),
    )
    model = build(config)
    model.head = model.head if configured == 527 else nn.Linear(model.head.in_features, configured)
    logits_CL = model(clip(9), torch.tensor([9])).detach().numpy()
    if configured == 527:
        assert score(logits_CL, np.eye(1, 527, dtype=bool)).clips == 1
        return
    with pytest.raises(ValueError, match=r"must both be \[clips, labels\]"):
        check(logits_CL, np.eye(1, 527, dtype=bool))


def test_8_the_official_evaluation_clips_are_the_test_and_none_is_learnt_from(tmp_path: Path) -> None:
    """Fault: a split drawn from all clips, so that figures compare with nobody's."""
    part_of_ten = ("eval", *["bal_train"] * 3, *["unbal_train"] * 6)
    listed = [Listed(f"video{number:06d}", part_of_ten[number % 10], (DOG,), b"") for number in range(60)]
    source = open_source(f"{write_parquet(tmp_path, listed)},val=0.3")
    place = {clip.key: clip.place for task in source.tasks() for clip in source.clips(task)}
    assert set(place.values()) == {"train", "val", "test"}
    assert {key for key, where in place.items() if where == "test"} == {c.video_id for c in listed if c.part == "eval"}


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


def test_9_files_do_not_grow_with_clips(tmp_path: Path) -> None:
    """Fault: one .npy a clip, two million files. Here a shard a task and an array a split, however many clips."""
    files = []
    for clips in (20, 60):
        (tmp_path / str(clips)).mkdir()
        shards = toy_shards(tmp_path / str(clips), clips)
        book = toy_codebook(shards, tmp_path / str(clips) / "codebook")
        encode(Encode(shards=shards, codebook=book, out=str(tmp_path / str(clips) / "tokens.zarr"), workers=1))
        files.append(sorted(str(f.relative_to(tmp_path / str(clips))) for f in (tmp_path / str(clips)).rglob("*")))
    assert files[0] == files[1]
    assert len(files[0]) > 20


@pytest.mark.parametrize("fault", [False, True])
def test_9_force_keeps_the_last_run_until_the_next_is_committed(fault: bool, tmp_path: Path) -> None:
    """Fault: result and model removed first, so that a crash of the forced training leaves neither run."""
    run = RunFolder(tmp_path / "run")
    assert run.begin({"fingerprint": "a"}, force=False)
    run.finish({"mAP": 0.5})
    (run.path / "notes.txt").write_text("not the run's own")
    assert not run.begin({"fingerprint": "a"}, force=False)
    if fault:
        shutil.rmtree(run.path)
    assert run.begin({"fingerprint": "b"}, force=True)
    (run.path / "checkpoints").mkdir()
    assert run.begin({"fingerprint": "b"}, force=False), "resumed after a crash"
    kept = run.path / "replaced"
    assert (kept / "result.json").is_file() != fault
    assert run.begin({"fingerprint": "c"}, force=True), "the crashed run is worth less than the one it was to replace"
    assert not run.checkpoints.exists()
    assert (kept / "result.json").is_file() != fault
    run.finish({"mAP": 0.6})
    kept_beside = [] if fault else ["notes.txt"]
    left = ["config.yaml", "integrity.json", *kept_beside, "result.json"]
    assert sorted(f.name for f in run.path.iterdir()) == left


def test_10_there_is_a_schedule_a_batch_and_a_balance() -> None:
    """Fault: a constant rate, batches of 8, every label alike whatever its number of clips."""
    for name, system in SYSTEMS.items():
        config = training_of(system.options())
        rates = [rate(step, config, 10) for step in range(config.epochs * 10)]
        assert rates[0] < 0.5 < max(rates) == 1.0, name
        assert rates[-1] < 0.01, name
        assert config.batch_clips >= 32, name
    weights_L = balance(torch.tensor([10_000, 100, 10]))
    assert weights_L[2] > 5 * weights_L[1] > 5 * weights_L[0]
    assert TrainConfig(loss="balanced").loss == "balanced"
    assert TrainConfig(sampling="weighted").sampling == "weighted"
    batch = Batch(clip(9), torch.tensor([9]), torch.ones(1, 2))
    assert augmented(batch, TrainConfig(), (VOCAB + 2,), np.random.default_rng(0)) is batch
