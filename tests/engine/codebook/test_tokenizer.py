import numpy as np
import pytest

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.conv_bank import ConvBankConfig
from audio_tokens.engine.codebook.fit_checkpoint import from_bytes, to_bytes
from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig, position_count
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.log_mel import MelConfig
from audio_tokens.errors import UserError
from tests.engine.codebook.toy_fit import ArrayLanes, in_worlds, toy_mels, toy_pairs

MEL = MelConfig(bands=8, n_fft=256, window_samples=256, hop_samples=128)
MELS = toy_mels(60)
RECIPES = {
    "default": (SliceConfig(), (24,), "cosine"),
    "one frame": (
        SliceConfig(normalise="min-max", contexts=(1,), stride=1, whiten_variance=None),
        (24,),
        "cosine",
    ),
    "euclidean": (SliceConfig(unit_length=False, normalise="none", whiten_dims=10), (24,), "euclidean"),
    "convolved": (SliceConfig(conv_bank=ConvBankConfig(kernels=3, kernel_size=5)), (24,), "cosine"),
    "two streams": (SliceConfig(contexts=(4, 12)), (24, 12), "cosine"),
    "bands": (SliceConfig(contexts=(4, 4, 8), bands=((0, 4), (3, 8), (0, 8))), (24, 24, 24), "cosine"),
    "residual": (SliceConfig(contexts=(4, 4, 4), residual=True), (24, 24, 24), "cosine"),
    "by views": (SliceConfig(contexts=(4, 12), whiten_by="views", whiten_variance=1.0), (24, 12), "cosine"),
}


def fit_of(name, budget_vectors=0, **options):
    slices, clusters, metric = RECIPES[name]
    config = KMeansConfig(clusters=clusters, metric=metric, chunk_vectors=32, budget_vectors=budget_vectors)
    blocks = [MELS[start : start + 4] for start in range(0, len(MELS), 4)]
    pairs = ArrayLanes([toy_pairs(block) for block in blocks]) if slices.whiten_by == "views" else None
    return CodebookFit(ArrayLanes(blocks), MEL.to_dict(), slices, config, pairs=pairs, **options)


def fitted(name, **options):
    fit = fit_of(name, **options)
    *_, last = fit.checkpoints()
    return fit.codebook(last, {"dataset": "toy"})


@pytest.fixture(scope="module", params=RECIPES)
def tokenizer(request):
    return AudioTokenizer(fitted(request.param))


def test_a_saved_and_reloaded_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "codebook")
    again = AudioTokenizer.from_pretrained(tmp_path / "codebook")
    assert again.codebook.hash == tokenizer.codebook.hash
    for mel_TF in MELS[:20]:
        ids_PQ = tokenizer.encode_mel(mel_TF)
        assert np.array_equal(again.encode_mel(mel_TF), ids_PQ)
        assert np.array_equal(again.decode(ids_PQ), tokenizer.decode(ids_PQ))


def test_ids_are_positions_by_streams_within_the_vocabulary(tokenizer):
    for mel_TF in MELS[:20]:
        ids_PQ = tokenizer.encode_mel(mel_TF)
        assert ids_PQ.shape == (position_count(len(mel_TF), tokenizer.codebook.slices), len(tokenizer.vocab_sizes))
        assert (ids_PQ < tokenizer.vocab_sizes).all()  # so that PAD, the vocabulary size, is never a token


def test_a_position_depends_on_its_windows_frames_alone_and_a_clip_on_itself(tokenizer):
    ids_PQ = tokenizer.encode_mel(MELS[0])
    for other in MELS[1:5]:
        tokenizer.encode_mel(other)
        assert np.array_equal(tokenizer.encode_mel(MELS[0]), ids_PQ)


def test_usage_counts_every_position_of_the_training_clips(tokenizer):
    slices = tokenizer.codebook.slices
    for stream in tokenizer.codebook.streams:
        assert stream.usage_K.sum() == sum(position_count(len(mel_TF), slices) for mel_TF in MELS)
    all_ids = np.concatenate([tokenizer.encode_mel(mel_TF) for mel_TF in MELS])
    for stream, ids_P in zip(tokenizer.codebook.streams, all_ids.T, strict=True):
        assert np.abs(np.bincount(ids_P, minlength=len(stream.usage_K)) - stream.usage_K).max() <= 1


def test_decoding_gives_the_clip_back_in_outline(tokenizer):
    errors, spreads = [], []
    for mel_TF in MELS[:20]:
        decoded_TF = tokenizer.decode(tokenizer.encode_mel(mel_TF))
        assert abs(len(decoded_TF) - len(mel_TF)) < tokenizer.codebook.slices.stride
        frames = min(len(decoded_TF), len(mel_TF))
        errors.append(((decoded_TF[:frames] - mel_TF[:frames]) ** 2).mean())
        spreads.append(mel_TF.astype(np.float32).var())
    assert np.mean(errors) < 0.7 * np.mean(spreads)  # the mean frame alone would leave 1; 24 centroids leave 0.1 to 0.6


def test_a_stream_reads_its_own_bands_and_no_others():
    slices = SliceConfig(normalise="none", contexts=(4, 4), bands=((0, 4), (3, 8)))
    blocks = [MELS[start : start + 4] for start in range(0, len(MELS), 4)]
    fit = CodebookFit(ArrayLanes(blocks), MEL.to_dict(), slices, KMeansConfig(clusters=(24, 24), chunk_vectors=32))
    *_, last = fit.checkpoints()
    tokenizer = AudioTokenizer(fit.codebook(last, {}))
    other_TF = MELS[0].copy()
    other_TF[:, 4:] = MELS[1][: len(other_TF), 4:] if len(MELS[1]) >= len(other_TF) else -40
    ids_PQ, other_PQ = tokenizer.encode_mel(MELS[0]), tokenizer.encode_mel(other_TF)
    assert np.array_equal(ids_PQ[:, 0], other_PQ[:, 0])
    assert (ids_PQ[:, 1] != other_PQ[:, 1]).any()
    decoded_TF, other_decoded_TF = tokenizer.decode(ids_PQ), tokenizer.decode(other_PQ)
    assert np.array_equal(decoded_TF[:, :3], other_decoded_TF[:, :3])
    with pytest.raises(UserError, match="8 bands"):
        SliceConfig(bands=((4, 9),)).covered_bands(0, 8)


def test_silence_has_tokens_and_they_decode_to_something_finite(tokenizer):
    ids_PQ = tokenizer.encode_mel(np.full((30, 8), -100, np.float32))
    assert len(np.unique(ids_PQ, axis=0)) == 1
    assert np.isfinite(tokenizer.decode(ids_PQ)).all()


def test_ids_that_are_no_tokens_and_mel_of_other_bands_are_refused(tokenizer):
    ids_PQ = tokenizer.encode_mel(MELS[0])
    with pytest.raises(UserError, match="this codebook has"):
        tokenizer.decode(ids_PQ + np.uint16(max(tokenizer.vocab_sizes)))
    with pytest.raises(UserError, match="mel of 9 bands"):
        tokenizer.encode_mel(np.zeros((30, 9), np.float32))


def test_a_wave_has_the_tokens_of_its_stored_mel(tokenizer):
    from audio_tokens.engine.sound.log_mel import FrontEnd

    wave_S = np.random.default_rng(0).normal(scale=0.1, size=30_000).astype(np.float32)
    mel_TF, _ = FrontEnd(MEL)((wave_S, 44_100))
    assert np.array_equal(tokenizer.encode(wave_S, 44_100), tokenizer.encode_mel(mel_TF.astype(np.float16)))


def test_residual_streams_add_up_to_ever_less_error():
    tokenizer = AudioTokenizer(fitted("residual"))
    errors = []
    for streams in (1, 2, 3):
        shorter = AudioTokenizer(_with_streams(tokenizer.codebook, streams) if streams < 3 else tokenizer.codebook)
        decoded = [shorter.decode(shorter.encode_mel(mel_TF)) for mel_TF in MELS]
        frames = [min(len(d), len(m)) for d, m in zip(decoded, MELS, strict=True)]
        errors.append(np.mean([((d[:n] - m[:n]) ** 2).mean() for d, m, n in zip(decoded, MELS, frames, strict=True)]))
    assert errors[0] > errors[1] > errors[2]


def _with_streams(codebook, streams):
    from dataclasses import replace

    slices = replace(codebook.slices, contexts=codebook.slices.contexts[:streams])
    return replace(codebook, slices=slices, streams=codebook.streams[:streams])


@pytest.mark.parametrize("name", ["two streams", "by views", pytest.param("residual", marks=pytest.mark.long)])
def test_a_fit_goes_on_from_any_saved_state_as_if_it_had_never_stopped(name):
    fit = fit_of(name)
    states = list(fit.checkpoints())
    whole = fit.codebook(states[-1], {})
    for state in states[:: len(states) // 4]:
        restored, fingerprint = from_bytes(to_bytes(state, "print"))
        assert fingerprint == "print"
        *_, last = [restored, *fit_of(name).checkpoints(restored)]
        assert fit.codebook(last, {}).hash == whole.hash


@pytest.mark.parametrize(("name", "size"), [("two streams", 2), ("two streams", 3), ("one frame", 2), ("by views", 2)])
def test_a_fit_is_the_same_on_any_number_of_processes(name, size):
    alone = fitted(name)
    for codebook in in_worlds(size, lambda world: fitted(name, world=world)):
        assert codebook.hash == alone.hash


def test_a_budget_draws_clips_to_fit_and_all_of_them_are_counted():
    positions = [position_count(len(mel_TF), SliceConfig()) for mel_TF in MELS]
    budget = sum(positions) // 3
    codebook = fitted("default", budget_vectors=budget)
    *passes, last = codebook.history
    longest_block = 4 * max(positions)
    assert {budget <= row["vectors"] <= budget + 12 * longest_block for row in passes} == {True}
    assert max(row["vectors"] for row in passes) < sum(positions)
    assert all(row["standard_error"] > 0 for row in passes)
    assert (last["vectors"], codebook.streams[0].usage_K.sum()) == (sum(positions), sum(positions))
    assert last["standard_error"] == 0
    assert abs(last["distortion"] - passes[-1]["distortion"]) < 6 * passes[-1]["standard_error"]
    for other in in_worlds(2, lambda world: fitted("default", budget_vectors=budget, world=world)):
        assert other.hash == codebook.hash


def test_a_budget_beyond_the_data_changes_nothing():
    assert fitted("default", budget_vectors=10**9).hash == fitted("default").hash


def test_a_folder_without_a_codebook_or_with_another_version_is_refused(tmp_path, tokenizer):
    with pytest.raises(UserError, match="holds no codebook"):
        Codebook.load(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"version": 1', '"version": 99'))
    with pytest.raises(UserError, match="version 99"):
        Codebook.load(tmp_path)
    (tmp_path / "config.json").write_text(config)
    whole = (tmp_path / "codebook.safetensors").read_bytes()
    (tmp_path / "codebook.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        Codebook.load(tmp_path)


def test_streams_and_clusters_of_different_number_are_refused():
    with pytest.raises(UserError, match=r"clusters \[5, 5\] and slices.contexts \[4\]"):
        CodebookFit(ArrayLanes([MELS]), MEL.to_dict(), SliceConfig(), KMeansConfig(clusters=(5, 5)))
