"""Laws of a run: choices on held-out clips, the tested fold seen by nothing, complete or resumed, never mixed up."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.systems.registry import load
from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder
from audio_tokens.jobs.inputs.training_data import open_data, parts_of

QUICK = "--options.epochs 3 --options.batch_clips 16"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with splits (soundscapes), and data with folds (the same waves as a list of recordings)."""
    import soundfile

    from audio_tokens.shards.sources.registry import open_source

    work = tmp_path_factory.mktemp("train")
    source = open_source("soundscapes:60,clip_s=1")
    clips = [clip for task in source.tasks() for clip in source.clips(task)]
    lines = ["path,labels,fold,group"]
    for index, clip in enumerate(clips):
        soundfile.write(work / f"{index}.wav", clip.wave_S, clip.rate_hz)
        lines.append(f"{index}.wav,{'odd' if index % 2 else 'even'},{index // 2 % 3 + 1},recording-{index // 2}")
    (work / "list.csv").write_text("\n".join(lines) + "\n")
    for name, spec in (("splits", "soundscapes:60,clip_s=1"), ("folds", f"csv:{work}/list.csv")):
        fold = " --test-fold 2" if name == "folds" else ""
        for words in (
            f"build --source {spec} --out {work}/{name} --workers 1",
            f"cluster --shards {work}/{name} --out {work}/{name}-book --recipe.kmeans.clusters 8{fold}",
            f"encode --shards {work}/{name} --codebook {work}/{name}-book --out {work}/{name}.zarr --workers 1",
        ):
            assert cli.main(words.split()) == 0, words
    return work


def run(words: str) -> int:
    return cli.main(words.split())


READS = {"token": "--tokens WORK/splits.zarr", "raw": "--shards WORK/splits"}
READS["hybrid"] = " ".join(READS.values())


@pytest.mark.parametrize("system", ["token-bag", "token-linear", "raw-linear", "hybrid-bert"])
def test_a_run_holds_what_it_promises(system: str, work: Path, tmp_path: Path) -> None:
    data = READS[system.partition("-")[0]].replace("WORK", str(work))
    quick = "" if system == "token-bag" else QUICK
    assert run(f"train {data} --system {system} --out {tmp_path}/run {quick}") == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert {
        "system", "seed", "test_fold", "clips_train", "clips_eval", "mAP", "mAUC", "dprime", "accuracy",
        "peak_val_mAP", "parameters", "seconds", "eval_place", "chosen_on", "leak",
    } <= result.keys()  # fmt: skip
    assert (result["eval_place"], result["accuracy"], result["leak"]) == ("test", None, None)
    assert result["chosen_on"] == (None if system == "token-bag" else "val")
    with (tmp_path / "run" / "per_class.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"val", "test"}
    assert len(rows) == 2 * 16
    if system != "token-bag":
        with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
            epochs = list(csv.DictReader(file))
        columns = ["epoch", "step", "world", "clips", "seconds", "learning_rate", "train_loss", "val_loss", "val_mAP"]
        assert list(epochs[0])[:9] == columns
        assert [row["epoch"] for row in epochs] == ["1", "2", "3"]
        assert float(result["peak_val_mAP"]) == pytest.approx(max(float(row["val_mAP"]) for row in epochs), rel=1e-5)
        (events,) = (tmp_path / "run").glob("**/events.out.tfevents*")
        tags = set(EventAccumulator(str(events)).Reload().Tags()["scalars"])
        wanted = {f"metrics-{figure}/head" for figure in ("gradient_norm", "update_ratio", "nonfinite_share")}
        assert {"metrics/train_loss", "metrics/val_mAP", *(wanted if system == "token-linear" else ())} <= tags
    assert run(f"evaluate --run {tmp_path}/run --split test") == 0
    again = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())
    assert again["mAP"] == pytest.approx(result["mAP"], abs=1e-9)
    assert again["mAP_95"][0] <= again["mAP_95"][1]


def test_complete_is_left_alone_other_settings_are_refused_and_force_replaces(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train --tokens {work}/splits.zarr --system token-linear --out {tmp_path}/run {QUICK}"
    assert run(words) == 0
    before = (tmp_path / "run" / "result.json").stat().st_mtime_ns
    assert run(words) == 0
    assert "is complete already" in capsys.readouterr().out
    assert (tmp_path / "run" / "result.json").stat().st_mtime_ns == before
    assert run(f"{words} --seed 1") == 2
    assert "holds a run made with other settings or from other data; --force replaces it" in capsys.readouterr().err
    assert run(f"{words} --seed 1 --force") == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seed"] == 1


def test_what_was_damaged_before_the_commit_is_written_again(work: Path, tmp_path: Path) -> None:
    words = f"train --tokens {work}/splits.zarr --system token-linear --out {tmp_path}/run {QUICK}"
    assert run(words) == 0
    files = [tmp_path / "run" / name for name in ("config.yaml", "metrics.csv", "metrics-gradients.csv")]
    kept = [file.read_bytes() for file in files]
    for late in ("result.json", "integrity.json"):
        (tmp_path / "run" / late).unlink()
    for file, data in zip(files, kept, strict=True):
        file.write_bytes(data.replace(b"ts", b"tz"))  # still to be read, and wrong, as a flipped bit may leave it
    assert run(words) == 0
    assert kept == [file.read_bytes() for file in files]


def test_the_tested_fold_is_seen_by_nothing_and_recordings_stay_together(work: Path) -> None:
    data = open_data(f"{work}/folds.zarr", None)
    parts = parts_of(data, 2, 0.3, seed=0)
    train, chosen_on, tested = set(parts.train.keys), set(parts.validation.keys), set(parts.test.keys)
    assert not train & chosen_on
    assert parts.refit is not None
    assert train | chosen_on == set(parts.refit.keys)
    assert not tested & set(parts.refit.keys)
    assert len(tested) + len(parts.refit) == 60
    _, groups = data.read(("fold-1", "fold-3"))
    group_of = dict(zip(parts.refit.keys, groups, strict=True))
    assert not {group_of[key] for key in train} & {group_of[key] for key in chosen_on}
    assert "fold-2" not in data.fitted_on


def test_a_fold_is_chosen_inside_refitted_on_all_and_tested_once(work: Path, tmp_path: Path) -> None:
    words = f"train --tokens {work}/folds.zarr --system token-linear --test-fold 2 --out {tmp_path}/run {QUICK}"
    assert run(words) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["eval_place"], result["test_fold"], result["clips_train"], result["clips_eval"]) == (
        "fold-2", 2, 40, 20,
    )  # fmt: skip
    assert result["accuracy"] is not None
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        chosen = max(csv.DictReader(file), key=lambda row: float(row["val_mAP"]))
    with (tmp_path / "run" / "refit.csv").open(newline="") as file:
        refit = list(csv.DictReader(file))
    assert len(refit) == int(chosen["epoch"])
    assert {row["clips"] for row in refit} == {"40"}


def test_a_codebook_that_saw_the_tested_fold_is_warned_of(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"train --tokens {work}/folds.zarr --system token-bag --test-fold 1 --out {tmp_path}/run") == 0
    assert "the codebook has seen fold-1, which is tested" in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").settings()["leak"] == "all-folds"


def test_a_run_that_has_learnt_from_the_tested_fold_is_no_start_unless_the_leak_is_allowed_and_recorded(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--options.width 16 --options.heads 2 --options.layers 1 --options.epochs 1"
    data = f"--tokens {work}/folds.zarr {small}"
    assert run(f"pretrain {data} --test-fold 2 --out {tmp_path}/body") == 0
    assert RunFolder(tmp_path / "body").settings()["learnt_from"] == ["fold-1", "fold-3"]
    words = f"train {data} --system token-bert --init {tmp_path}/body"
    assert run(f"{words} --test-fold 2 --out {tmp_path}/honest") == 0
    honest = RunFolder(tmp_path / "honest")
    assert "leak" not in honest.settings()
    assert run(f"{words} --test-fold 1 --out {tmp_path}/leaky") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/body has learnt from fold-1, which is tested; start from a run that has not" in said
    assert not (tmp_path / "leaky").exists()
    assert run(f"{words} --test-fold 1 --out {tmp_path}/leaky --allow-leak") == 0
    leaky = RunFolder(tmp_path / "leaky")
    assert leaky.settings()["leak"] == "all-folds, init", "the codebook has seen fold 1 too"
    assert json.loads((leaky.path / "result.json").read_text())["leak"] == "all-folds, init"
    assert leaky.settings()["learnt_from"] == ["fold-2", "fold-3", "fold-1"], "what its start has learnt from too"


def test_tokens_and_mel_that_do_not_belong_together_are_refused(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train --system hybrid-bert --out {tmp_path}/run {QUICK}"
    assert run(f"{words} --tokens {work}/splits.zarr --shards {work}/folds") == 2
    assert f"{work}/splits.zarr was not encoded from {work}/folds" in capsys.readouterr().err
    assert run(f"{words} --tokens {work}/splits.zarr") == 2
    said = capsys.readouterr().err
    assert "hybrid-bert reads tokens and mel; give it --tokens TOKENS.zarr and --shards SHARDS" in said
    assert (
        run(f"{words.replace('hybrid-bert', 'token-linear')} --tokens {work}/splits.zarr --shards {work}/splits") == 2
    )
    assert "token-linear reads tokens; give it --tokens TOKENS.zarr alone" in capsys.readouterr().err
    assert run(f"train --system token-bag --tokens {work}/splits.zarr --out {tmp_path}/bag") == 0
    capsys.readouterr()
    assert run(f"evaluate --run {tmp_path}/bag --split test --shards {work}/splits") == 2
    assert "token-bag reads tokens; give it --tokens TOKENS.zarr alone" in capsys.readouterr().err
    before = tmp_path / "before.zarr"  # a store of the time when positions did not tell their frames
    shutil.copytree(work / "splits.zarr", before)
    meta = json.loads((before / "zarr.json").read_text())
    del meta["attributes"]["stride_frames"]
    (before / "zarr.json").write_text(json.dumps(meta))
    assert run(f"{words} --tokens {before} --shards {work}/splits") == 2
    assert "does not tell which frames its positions stand for; encode it again with --force" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_tokens_and_mel_that_a_model_does_not_know_are_refused(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many tokens, and as many bands, so that nothing but their origin tells them apart."""
    assert run(f"train --system token-linear --tokens {work}/splits.zarr --out {tmp_path}/tokens {QUICK}") == 0
    assert run(f"evaluate --run {tmp_path}/tokens --split fold-1 --tokens {work}/folds.zarr") == 2
    assert (
        f"{work}/folds.zarr was made by another codebook than {tmp_path}/tokens reads; "
        f"encode with --codebook {tmp_path}/tokens/model/codebook" in capsys.readouterr().err
    )
    words = f"train --system token-linear --tokens {work}/folds.zarr --test-fold 2 --out {tmp_path}/more {QUICK}"
    assert run(f"{words} --init {tmp_path}/tokens") == 2
    assert f"{tmp_path}/tokens has learnt tokens of another codebook" in capsys.readouterr().err
    assert not (tmp_path / "more").exists()
    (tmp_path / "mel.yaml").write_text("top_db: 60.0\n")
    words = f"build --source soundscapes:30,clip_s=1 --mel {tmp_path}/mel.yaml --out {tmp_path}/shards --workers 1"
    assert run(words) == 0
    assert run(f"train --system raw-linear --shards {work}/splits --out {tmp_path}/mel {QUICK}") == 0
    assert run(f"evaluate --run {tmp_path}/mel --split test --shards {tmp_path}/shards") == 2
    assert f"build with {tmp_path}/mel/model/front_end.json" in capsys.readouterr().err
    assert run(f"{words} --force true".replace("mel.yaml", "mel/model/front_end.json")) == 0
    assert run(f"evaluate --run {tmp_path}/mel --split test --shards {tmp_path}/shards") == 0, "the remedy works"


def test_slices_beside_tokens_are_the_windows_the_tokens_were_made_from(work: Path) -> None:
    """Tokens made again from the slices alone equal the store's: they are the very frames, clip by clip."""
    tokenizer = AudioTokenizer.from_pretrained(work / "splits-book")
    clips, _ = open_data(f"{work}/splits.zarr", f"{work}/splits").read(("train",))
    (batch,) = clips.batches([np.arange(len(clips))])
    (stream,) = tokenizer.codebook.streams
    assert stream.whitening is not None
    compared = 0
    for row, length in enumerate(batch.lengths_B.tolist()):
        x_ND = stream.whitening(batch.beside["slices_BTD"][row, :length].numpy())
        ids = (x_ND @ stream.centroids_KD.T).argmax(axis=1)  # of equal length all, so that size does not matter
        assert (ids == batch.input[row, :length, 0].numpy()).mean() > 0.99  # a tie may turn on a rounding
        compared += length
    assert compared > 500


def test_embeddings_begin_with_the_centroids_of_the_tokens_codebook(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a vanishing rate they are still there when training is over: nearest neighbours are those of the centroids."""
    words = f"train --system token-linear --tokens {work}/splits.zarr --out {tmp_path}/run --options.epochs 1"
    words += " --options.embedding centroids --options.learning_rate 1e-12"
    assert run(words) == 2
    assert "begins with those of the tokens' codebook; name it with --codebook" in capsys.readouterr().err
    assert run(f"{words} --codebook {work}/folds-book") == 2
    assert f"--codebook {work}/folds-book is not the one these tokens were made with" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(f"{words} --codebook {work}/splits-book") == 0
    vectors_KW = load_file(tmp_path / "run" / "model" / "model.safetensors")["embed.table.weight"][:8]
    centroids_KD = AudioTokenizer.from_pretrained(work / "splits-book").codebook.streams[0].centroids_KD
    distances = [np.linalg.norm(x[:, None] - x, axis=2) for x in (vectors_KW, centroids_KD)]
    assert np.argsort(distances[0], axis=1).tolist() == np.argsort(distances[1], axis=1).tolist()
    pretrained = f"pretrain --tokens {work}/splits.zarr --out {tmp_path}/body --options.embedding centroids"
    assert run(pretrained) == 2
    assert "name it with --codebook" in capsys.readouterr().err
    small = "--options.width 16 --options.heads 2 --options.epochs 1"
    assert run(f"{pretrained} --codebook {work}/splits-book {small}") == 0
    words = words.replace("token-linear", "token-bert").replace(f"{tmp_path}/run", f"{tmp_path}/tuned")
    assert run(f"{words} --init {tmp_path}/body {small}") == 0, "a run to start from brings its own embeddings"


def test_a_bag_beside_an_lstm_votes_and_changes_nothing_else(work: Path, tmp_path: Path) -> None:
    words = f"train --tokens {work}/splits.zarr --options.epochs 1 --system token-lstm"
    assert run(f"{words} --out {tmp_path}/alone") == 0
    assert run(f"{words} --out {tmp_path}/both --options.bag true") == 0
    assert run(f"train --tokens {work}/splits.zarr --system token-bag --out {tmp_path}/bag") == 0
    alone, both, bag = (load(tmp_path / name / "model") for name in ("alone", "both", "bag"))
    for name, weights in alone.state_dict().items():
        assert torch.equal(weights, both.state_dict()[name])
    ids_BTQ, lengths_B = (
        torch.randint(8, (3, 9, 1), generator=torch.Generator().manual_seed(0)),
        torch.tensor([9, 4, 1]),
    )
    with torch.no_grad():
        mean_BL = (alone(ids_BTQ, lengths_B) + bag(ids_BTQ, lengths_B)) / 2  # clips of several labels
        assert torch.allclose(both(ids_BTQ, lengths_B), mean_BL, atol=1e-5)


def test_kernels_hear_the_spectra_of_the_tokens_codebook(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that a kernel hears is linear in the tokens' middle mel frames; without a codebook it is refused."""
    words = f"train --system token-rocket --tokens {work}/splits.zarr --out {tmp_path}/run --options.kernels 30"
    assert run(f"{words} --options.embedding spectra") == 2
    assert "embedding: spectra begins with those of the tokens' codebook" in capsys.readouterr().err
    assert run(f"{words} --options.embedding spectra --codebook {work}/splits-book") == 0
    codebook = AudioTokenizer.from_pretrained(work / "splits-book").codebook
    (patches_KM,) = (stream.patches_KM for stream in codebook.streams)
    bands = codebook.mel["bands"]
    middle_KF = (patches_KM[:, bands : 2 * bands] + patches_KM[:, 2 * bands : 3 * bands]) / 2  # of four frames
    np.testing.assert_allclose(codebook.spectra()[0], middle_KF, rtol=1e-5, atol=1e-6)
    heard_KN = load_file(tmp_path / "run" / "model" / "model.safetensors")["embed.table.weight"][:8]
    again_KN = middle_KF @ np.linalg.lstsq(middle_KF, heard_KN, rcond=None)[0]
    np.testing.assert_allclose(again_KN, heard_KN, rtol=1e-3, atol=1e-3)
    assert run(f"evaluate --run {tmp_path}/run --split test") == 0


def test_compare_and_cross_validate(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = "--recipe.kmeans.clusters 8 --recipe.train.epochs 2"
    quick += " --recipe.systems.token-linear.embedding centroids"
    for system in ("token-bag", "token-linear"):
        assert run(f"cross-validate --shards {work}/folds --system {system} --work {tmp_path}/cv {quick}") == 0
    said = capsys.readouterr().out
    assert "token-linear, 3 folds, 60 clips" in said
    runs = [",".join(f"{tmp_path}/cv/default-0/fold-{i}/{s}" for i in (1, 2, 3)) for s in ("token-bag", "token-linear")]
    assert run(f"compare --a {runs[0]} --b {runs[1]}") == 0
    said = capsys.readouterr().out
    assert said.startswith("60 clips, 1000 bootstrap samples")
    assert "accuracy" in said
    assert run(f"compare --a {runs[0]} --b {runs[0]}") == 0
    assert "p 1.000" in capsys.readouterr().out


@pytest.mark.long
def test_sweep(tmp_path: Path) -> None:
    grid = "{name: g, axes: {k: {k4: {kmeans: {clusters: [4]}}, k6: {kmeans: {clusters: [6]}}}}, "
    grid += "systems: [token-bag, raw-linear, hybrid-bert], seeds: [0], base: {train: {epochs: 1}}}"
    (tmp_path / "grid.yaml").write_text(grid)
    words = f"sweep --source soundscapes:60,clip_s=1 --work {tmp_path}/sweep --recipe-grid {tmp_path}/grid.yaml"
    assert run(f"{words} --workers 1") == 0
    rows = json.loads((tmp_path / "sweep" / "leaderboard.json").read_text())
    assert sorted((row["system"], row["recipe"]) for row in rows) == [
        ("hybrid-bert", "g-k4"), ("hybrid-bert", "g-k6"), ("raw-linear", "g-k4"), ("token-bag", "g-k4"),
        ("token-bag", "g-k6"),
    ]  # fmt: skip


def test_predictions_are_joined_only_where_they_fit() -> None:
    one = Predictions(
        keys=["a", "b"],
        groups=["1", "2"],
        labels=["x"],
        scores_CL=np.zeros((2, 1), np.float32),
        targets_CL=np.ones((2, 1), bool),
    )
    turned = Predictions(**{**vars(one), "keys": ["b", "a"], "groups": ["2", "1"]})
    assert (turned.in_order_of(one).keys, turned.in_order_of(one).groups) == (one.keys, one.groups)
    with pytest.raises(ValueError, match="tested on the same clips"):
        Predictions.joined([one, one])
    other = Predictions(**{**vars(one), "keys": ["b", "c"]})
    with pytest.raises(ValueError, match="on other clips or labels"):
        other.in_order_of(one)
