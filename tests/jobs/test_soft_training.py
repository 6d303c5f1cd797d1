"""`encode --top M` and `soft: true` together, from shards to a figure."""

import json
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.engine.codebook.soft_tokens import packed
from audio_tokens.jobs import cli
from audio_tokens.jobs.inputs.training_data import open_data
from audio_tokens.shards.tokens.token_store import TokenStore
from tests.jobs.toy_tokens import toy_codebook, toy_shards


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soft")
    shards = toy_shards(folder)
    codebook = toy_codebook(shards, folder / "codebook")
    for name, top in {"plain": 1, "soft": 3}.items():
        words = f"encode --shards {shards} --codebook {codebook} --out {folder}/{name}.zarr --top {top} --workers 1"
        assert cli.main(words.split()) == 0
    return folder


@pytest.mark.parametrize("system", ["token-bag", "token-linear"])
def test_a_system_trained_on_soft_tokens_is_tested_and_evaluated_on_soft_tokens(work: Path, tmp_path, system):
    run = tmp_path / "run"
    words = f"train --tokens {work}/soft.zarr --system {system} --options.soft true --out {run}"
    words += " --options.epochs 2" if system != "token-bag" else ""
    assert cli.main(words.split()) == 0
    assert json.loads((run / "model" / "config.json").read_text())["alternatives"] == 3
    assert cli.main(f"evaluate --run {run} --split test --replicates 2".split()) == 0
    trained = json.loads((run / "result.json").read_text())
    evaluated = json.loads((run / "evaluation-test.json").read_text())
    assert trained["mAP"] == pytest.approx(evaluated["mAP"], abs=1e-6)
    assert not np.isnan(trained["mAP"])


def test_soft_tokens_are_mapped_and_put_together_as_they_are_read(work: Path):
    group = TokenStore.open(work / "soft.zarr").group("train")
    clips = open_data(str(work / "soft.zarr"), None, soft=True).read(("train",))[0]
    for values_PQ in (clips.rows.ids_PQ, clips.rows.cosines_PQ):
        assert isinstance(values_PQ.base.base, np.memmap)
    expected_PQM = packed(group.top_ids_PQM, group.top_cosines_PQM)
    first, second = (slice(*group.offsets[clip : clip + 2]) for clip in (0, 1))
    batch = clips.batch(np.array([1, 0]))
    for row, part in enumerate((second, first)):
        expected = expected_PQM[part].reshape(part.stop - part.start, -1)
        assert np.array_equal(batch.input[row, : len(expected)], expected)
        assert np.array_equal(clips.rows.tokens(part), expected)


def test_without_soft_the_alternatives_are_not_looked_at(work: Path):
    plain, soft = (open_data(str(work / f"{name}.zarr"), None) for name in ("plain", "soft"))
    assert soft.alternatives == 1
    assert np.array_equal(plain.read(("train",))[0].rows.ids_PQ, soft.read(("train",))[0].rows.ids_PQ)


def test_soft_training_on_plain_tokens_is_one_clear_line(work: Path, tmp_path, capsys):
    words = f"train --tokens {work}/plain.zarr --system token-bag --options.soft true --out {tmp_path}/run"
    assert cli.main(words.split()) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "plain.zarr" in line
    assert "--top" in line
    assert not (tmp_path / "run").exists()
