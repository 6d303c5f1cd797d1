"""describe: what an artefact is, what made it and whether it is whole, as facts and in words."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.description import facts_of, words_of
from audio_tokens.jobs.cluster import Cluster, cluster
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.train import Train, train
from audio_tokens.shards.tokens.token_store import TokenStore
from tests.jobs.toy_tokens import RECIPE, toy_shards

KINDS = {"shards": "shards", "codebook": "codebook", "tokens.zarr": "tokens", "bag": "run", "bag/model": "model"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("describe")
    shards = toy_shards(work)
    book, tokens = str(work / "codebook"), str(work / "tokens.zarr")
    cluster(Cluster(shards=shards, out=book, recipe=RECIPE))
    encode(Encode(shards=shards, codebook=book, out=tokens, workers=1))
    train(Train(tokens=tokens, codebook=book, system="token-bag", out=str(work / "bag")))
    return work


def test_facts_are_those_of_the_artefacts_and_words_tell_them(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(work / name) for name in KINDS]
    assert cli.main(["describe", *folders, "--json"]) == 0
    found = {entry["kind"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(found) == list(KINDS.values())
    assert all(entry["whole"] for entry in found.values())
    group = TokenStore.open(work / "tokens.zarr").group("train", "val", "test")
    counts_K = np.bincount(group.ids_PQ[:, 0], minlength=20)
    lengths_C = np.diff(group.offsets)
    tokens = found["tokens"]
    assert (tokens["clips"], tokens["positions"]) == (len(group), len(group.ids_PQ)) == (60, counts_K.sum())
    assert tokens["vocabulary"] == found["codebook"]["vocabulary"] == [20]
    assert tokens["used"][0]["tokens"] == (counts_K > 0).sum()
    assert tokens["used"][0]["most_share"] == pytest.approx(counts_K.max() / counts_K.sum())
    assert tokens["positions_a_clip"] == {
        "least": lengths_C.min(),
        "median": np.median(lengths_C),
        "most": lengths_C.max(),
    }
    assert tokens["codebook"] == found["codebook"]["hash"] == Codebook.load(work / "codebook").hash
    assert tokens["made_from"]["codebook"] == {"id": found["codebook"]["id"], "folder": str(work / "codebook")}
    assert found["run"]["made_from"]["tokens"]["id"] == tokens["id"]
    assert sum(place["clips"] for place in found["shards"]["places"].values()) == found["shards"]["clips"] == 60
    assert found["run"]["mAP"] == json.loads((work / "bag" / "result.json").read_text())["mAP"]
    assert found["model"]["tags_sound"]
    assert cli.main(["describe", *folders, "--most-labels", "3"]) == 0
    text = capsys.readouterr().out
    for said in ("vocabulary of 20", "made from the codebook", "60 clips of ", "a run of token-bag", "it tags sound"):
        assert said in text, said
    assert text.count("whole: ") == 4
    assert "... and 13 more" in text


@pytest.mark.parametrize("name", [name for name in KINDS if name != "bag/model"])
def test_what_is_missing_or_cut_is_named(name: str, work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / name, tmp_path / "copy")
    kind = KINDS[name]
    lost = {"shards": "rejects.jsonl", "codebook": "objective.csv", "tokens": "rejects.jsonl", "run": "per_class.csv"}[
        kind
    ]
    if not (tmp_path / "copy" / lost).is_file():
        pytest.fail(f"{lost} is no file of {kind}")
    (tmp_path / "copy" / lost).unlink()
    facts = facts_of(tmp_path / "copy", kind)
    assert (facts["whole"], facts["faults"]) == (False, [f"{lost} is missing"])
    assert any(line == f"  not whole: {lost} is missing" for line in words_of(facts, 5))
    (tmp_path / "copy" / "integrity.json").unlink()
    assert facts_of(tmp_path / "copy", kind)["faults"] == ["integrity.json is missing"]


def test_evaluate_prints_a_table_and_every_digit_where_asked(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "--run", str(work / "bag"), "--split", "test", "--replicates", "10"]
    assert cli.main([*words, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert cli.main(words) == 0
    table = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert table["mAP"][1:3] == [f"{100 * figures['mAP']:.2f}", "%"]
    assert table["mAP"][3:] == [
        f"{100 * figures['mAP_95'][0]:.2f}",
        "%",
        "to",
        f"{100 * figures['mAP_95'][1]:.2f}",
        "%",
    ]
    assert table["dprime"][1] == f"{figures['dprime']:.3f}"
    assert table["accuracy"][1] == "-"  # clips of several labels have none
