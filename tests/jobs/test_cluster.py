import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.build import Build, build
from audio_tokens.jobs.cluster import Cluster, cluster
from audio_tokens.jobs.display.loudness import as_loud_as
from audio_tokens.jobs.inputs.view_pairs import ViewPairs
from audio_tokens.jobs.recipe import CodebookRecipe
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.registry import open_source
from tests.jobs.toy_tokens import RECIPE, recipe, toy_codebook, toy_shards

ROOT = Path(__file__).parents[2]
RECIPE_FILE = "kmeans: {clusters: [20], chunk_vectors: 64, checkpoint_batches: 1}\n"


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return toy_shards(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def codebook(shards, tmp_path_factory):
    return toy_codebook(shards, tmp_path_factory.mktemp("cluster") / "codebook")


def command(shards, out, folder, *launcher):
    """The command line of a fit that leaves a checkpoint after every batch."""
    (folder / "recipe.yaml").write_text(RECIPE_FILE)
    words = launcher or (sys.executable, "-m", "audio_tokens.jobs.cluster")
    return [*words, "--shards", shards, "--out", str(out), "--recipe", str(folder / "recipe.yaml")]


def test_only_the_train_split_is_fitted_on(shards, codebook):
    origin = Codebook.load(codebook).origin
    train = sum(shard.frames for shard in Dataset.open(shards).shards if shard.place == "train")
    assert origin["places"] == ["train"]
    assert origin["dataset"] == Dataset.open(shards).hash
    positions = Codebook.load(codebook).streams[0].usage_K.sum()
    assert train / 2 * 0.9 < positions <= train / 2  # context 4, stride 2


def test_what_is_complete_is_left_alone_and_what_differs_is_refused(shards, codebook, capsys):
    before = Codebook.load(codebook).hash
    toy_codebook(shards, Path(codebook))
    assert "complete already" in capsys.readouterr().out
    for other in ({"seed": 1}, {"recipe": recipe(clusters=(21,))}):
        with pytest.raises(UserError, match="--force"):
            toy_codebook(shards, Path(codebook), **other)
    assert Codebook.load(codebook).hash == before


@pytest.mark.parametrize("passes", [1, 20])
def test_the_bar_ends_at_its_total_and_never_promises_too_little(shards, tmp_path, capsys, passes):
    """With one pass nothing ends early, so that the total is right from the first clip on."""
    with as_loud_as(["--verbose"]):
        toy_codebook(shards, tmp_path / "codebook", recipe=recipe(passes=passes))
    bars = re.findall(r"cluster: +\d+%.*?(\d+)/(\d+)", capsys.readouterr().err)
    totals = [int(total) for _, total in bars]
    assert totals == sorted(totals, reverse=True)
    assert bars[-1][0] == bars[-1][1]
    assert (len(set(totals)) == 1) == (passes == 1)


def test_force_replaces(shards, tmp_path):
    toy_codebook(shards, tmp_path / "codebook", recipe=recipe(clusters=(5,)))
    toy_codebook(shards, tmp_path / "codebook", recipe=recipe(clusters=(6,)), force=True)
    assert Codebook.load(tmp_path / "codebook").vocab_sizes == (6,)


def test_the_same_fit_is_the_same_files_and_another_seed_is_not(shards, codebook, tmp_path):
    same = toy_codebook(shards, tmp_path / "same")
    for name in ("config.json", "codebook.safetensors", "objective.csv"):
        assert (Path(same) / name).read_bytes() == (Path(codebook) / name).read_bytes()
    other = toy_codebook(shards, tmp_path / "other", seed=1)
    assert Codebook.load(other).hash != Codebook.load(codebook).hash


def test_the_objective_is_reported_per_pass_and_falls(codebook):
    header, *rows = (Path(codebook) / "objective.csv").read_text().splitlines()
    assert header == "stream,pass,vectors,distortion,standard_error,dead"
    distortions = [float(row.split(",")[3]) for row in rows]
    assert len(distortions) >= 3
    assert distortions == sorted(distortions, reverse=True)


def test_mistakes_are_refused_by_name(shards, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        cluster(Cluster(shards=str(tmp_path / "nowhere"), out=str(tmp_path / "out")))
    with pytest.raises(UserError, match="--test-fold 1"):
        cluster(Cluster(shards=shards, out=str(tmp_path / "out"), test_fold=1))
    with pytest.raises(UserError, match="vectors cannot fill 60000 centroids"):
        toy_codebook(shards, tmp_path / "out", recipe=recipe(clusters=(60_000,)))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_codebook_is_not_replaced_unasked(shards, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("dear diary")
    with pytest.raises(UserError, match="no codebook"):
        toy_codebook(shards, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").exists()


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Mel shards with two folds."""
    folder = tmp_path_factory.mktemp("folds")
    rng = np.random.default_rng(0)
    lines = ["path,labels,fold"]
    for index in range(8):
        soundfile.write(folder / f"{index}.wav", 0.1 * rng.normal(size=22_050), 22_050)
        lines.append(f"{index}.wav,noise,{1 + index % 2}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    assert build(Build(source=f"csv:{folder / 'list.csv'}", out=str(folder / "shards"), workers=1)) == 0
    return str(folder / "shards")


def test_the_tested_fold_is_left_out_and_a_leak_is_said_and_recorded(folds, tmp_path, capsys):
    honest = Codebook.load(toy_codebook(folds, tmp_path / "honest", test_fold=2))
    assert honest.origin["places"] == ["fold-1"]
    assert "leak" not in honest.origin
    assert "warning" not in capsys.readouterr().out
    leaky = Codebook.load(toy_codebook(folds, tmp_path / "leaky"))
    assert leaky.origin["leak"] == "all-folds"
    assert "warning" in capsys.readouterr().out
    with pytest.raises(UserError, match="--test-fold 7"):
        toy_codebook(folds, tmp_path / "none", test_fold=7)


@pytest.mark.parametrize("states", [1, 3, 8])
def test_an_interrupted_fit_goes_on_to_the_same_codebook(shards, tmp_path, monkeypatch, states):
    from audio_tokens.shards import publish

    settings = recipe(checkpoint_batches=1)
    whole = Codebook.load(toy_codebook(shards, tmp_path / "whole", recipe=settings))
    publish_bytes, left = publish.publish_bytes, [states]

    def publish_some(path, data):
        publish_bytes(path, data)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publish, "publish_bytes", publish_some)
        with pytest.raises(KeyboardInterrupt):
            toy_codebook(shards, tmp_path / "broken", recipe=settings)
    assert not (tmp_path / "broken").exists()
    with pytest.raises(UserError, match="--force begins anew"):
        toy_codebook(shards, tmp_path / "broken", recipe=settings, seed=1)
    resumed = Codebook.load(toy_codebook(shards, tmp_path / "broken", recipe=settings))
    assert resumed.hash == whole.hash
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def launch(shards, folder, processes):
    """Fit under accelerate's launcher with so many processes; return the codebook."""
    out = folder / f"codebook-{processes}"
    launcher = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes))
    port = ("--main_process_port", str(random.randrange(20_000, 60_000)))
    words = command(shards, out, folder, *launcher, *port, str(ROOT / "jobs" / "cluster.py"))
    subprocess.run(words, cwd=ROOT, check=True, timeout=240, capture_output=True)
    return Codebook.load(out)


BY_VIEWS = CodebookRecipe(
    slices=SliceConfig(whiten_by="views", whiten_variance=1.0, whiten_floor=0.03), kmeans=RECIPE.kmeans
)


def test_whitening_by_views_reads_the_source_once_more(shards, tmp_path):
    by_views = {"recipe": BY_VIEWS, "source": "soundscapes:60,clip_s=1"}
    codebook = Codebook.load(toy_codebook(shards, tmp_path / "codebook", **by_views))
    assert codebook.origin["views"]["speed"] == ViewConfig().speed
    parents = json.loads((tmp_path / "codebook" / "integrity.json").read_text())["parents"]
    assert parents.keys() == {"shards", "listing"}
    whitening = codebook.streams[0].whitening
    assert whitening is not None
    assert whitening.matrix_DE.shape == (4 * 64, 4 * 64)
    again = Codebook.load(toy_codebook(shards, tmp_path / "again", **by_views))
    assert again.hash == codebook.hash
    toy_codebook(shards, tmp_path / "again", **{**by_views, "recipe": replace(BY_VIEWS, views=ViewConfig(count=3))})
    with pytest.raises(UserError, match="--force"):
        toy_codebook(shards, tmp_path / "again", **{**by_views, "source": "soundscapes:60,clip_s=2"})
    other = replace(BY_VIEWS, views=ViewConfig(speed=0.3))
    assert Codebook.load(toy_codebook(shards, tmp_path / "other", **{**by_views, "recipe": other})).hash != again.hash


def test_whitening_by_views_compares_what_is_fitted_on(shards):
    source, dataset = open_source("soundscapes:60,clip_s=1"), Dataset.open(shards)
    pairs = ViewPairs(source, dataset, ["train"], ViewConfig(), seed=0)
    found = [pair for lane in range(pairs.lanes + 1) for block in pairs.blocks(lane, 0) for pair in block]
    assert len(found) == len(dataset.numbers_of("train"))
    stored = {sample.array_TF.tobytes() for index in dataset.shards_of("train") for sample in dataset.read(index)}
    assert {own_TF.astype(np.float16).tobytes() for own_TF, _ in found} == stored
    assert not any(np.array_equal(own_TF, view_TF) for own_TF, view_TF in found)


def test_what_cannot_be_read_again_is_told_and_left_out(tmp_path, capsys):
    lines = ["path,labels,fold"]
    for index in range(4):
        wave_S = 0.1 * np.random.default_rng(index).normal(size=22_050)
        soundfile.write(tmp_path / f"{index}.wav", wave_S, 22_050)
        lines.append(f"{index}.wav,noise,{1 + index // 3}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    source = f"csv:{tmp_path / 'list.csv'}"
    assert build(Build(source=source, out=str(tmp_path / "shards"), workers=1)) == 0
    (tmp_path / "1.wav").unlink()
    pairs = ViewPairs(open_source(source), Dataset.open(tmp_path / "shards"), ["fold-1"], ViewConfig(), seed=0)
    assert sum(len(list(pairs.blocks(lane, 0))) for lane in range(pairs.lanes)) == 2
    assert re.search(r"cluster: .*1\.wav cannot be compared with a view: .*[Nn]o such file", capsys.readouterr().out)


def test_whitening_by_views_wants_the_sound_of_the_shards(shards, tmp_path):
    with pytest.raises(UserError, match="name --source SOURCE"):
        toy_codebook(shards, tmp_path / "out", recipe=BY_VIEWS)
    with pytest.raises(UserError, match="leave it out"):
        toy_codebook(shards, tmp_path / "out", source="soundscapes:60,clip_s=1")
    with pytest.raises(UserError, match="what the shards were built from"):
        toy_codebook(shards, tmp_path / "out", recipe=BY_VIEWS, source="soundscapes:60,clip_s=1,seed=1")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 3])
def test_the_launcher_with_several_processes_makes_the_same_codebook(shards, tmp_path, processes):
    subprocess.run(command(shards, tmp_path / "alone", tmp_path), cwd=ROOT, check=True, timeout=240)
    alone, joined = Codebook.load(tmp_path / "alone"), launch(shards, tmp_path, processes)
    assert abs(joined.streams[0].centroids_KD - alone.streams[0].centroids_KD).max() < 1e-6
    assert (joined.streams[0].usage_K == alone.streams[0].usage_K).all()


@pytest.mark.long
def test_killed_at_random_moments_the_fit_ends_in_the_same_codebook(shards, tmp_path):
    began = time.monotonic()
    subprocess.run(command(shards, tmp_path / "whole", tmp_path), cwd=ROOT, check=True)
    rng, kills = random.Random(0), 0
    limit_s = (time.monotonic() - began) / 3  # that run may have shared its core: the first kill must come in time
    for _ in range(30):
        process = subprocess.Popen(command(shards, tmp_path / "killed", tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.3, 1.0) * limit_s)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills, limit_s = kills + 1, limit_s * 1.2
    else:
        subprocess.run(command(shards, tmp_path / "killed", tmp_path), cwd=ROOT, check=True)
    assert kills > 0
    for name in ("config.json", "codebook.safetensors", "objective.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_seed_recipe_is_recorded_with_its_slices(shards, tmp_path):
    out = toy_codebook(shards, tmp_path / "codebook")
    config = json.loads((Path(out) / "config.json").read_text())
    assert config["slices"]["contexts"] == list(RECIPE.slices.contexts)
    assert config["mel"]["bands"] == 64
