import numpy as np
import pyarrow.parquet as pq
import pytest

from audio_tokens.errors import UserError
from audio_tokens.jobs import export as export_job
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.export import Export, export
from audio_tokens.shards.tokens.token_store import TokenStore
from tests.jobs.toy_tokens import toy_codebook, toy_shards


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    shards = toy_shards(folder)
    out = str(folder / "tokens.zarr")
    encode(Encode(shards=shards, codebook=toy_codebook(shards, folder / "codebook"), out=out, workers=1))
    return out


def test_every_clip_is_a_row_with_its_tokens_and_label_names(tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(export_job, "ROWS", 7)  # so that a place has several files
    export(Export(tokens=tokens, out=str(tmp_path / "parquet")))
    store = TokenStore.open(tokens)
    for place in store.places:
        group = store.group(place)
        files = sorted((tmp_path / "parquet").glob(f"{place}-*.parquet"))
        assert len(files) == -(-len(group) // 7)
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        assert [row["id"] for row in rows] == group.keys
        for index, row in enumerate(rows):
            ids_PQ = group.ids_PQ[group.offsets[index] : group.offsets[index + 1]]
            assert np.array_equal(np.array(row["tokens"]), ids_PQ)
            label_ids = group.label_ids[group.label_offsets[index] : group.label_offsets[index + 1]]
            assert row["labels"] == [store.labels[label] for label in label_ids]


def test_the_same_export_again_is_complete_and_other_tokens_are_not_replaced_unasked(
    tokens, tmp_path, monkeypatch, capsys
):
    for _ in range(2):
        export(Export(tokens=tokens, out=str(tmp_path / "parquet")))
    assert "is complete already" in capsys.readouterr().out
    monkeypatch.setattr(export_job, "ROWS", 7)
    with pytest.raises(UserError, match="holds an export of other tokens; --force replaces it"):
        export(Export(tokens=tokens, out=str(tmp_path / "parquet")))
    export(Export(tokens=tokens, out=str(tmp_path / "parquet"), force=True))
    assert len(list((tmp_path / "parquet").glob("train-*"))) > 1
