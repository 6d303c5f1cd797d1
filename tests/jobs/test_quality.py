import json

import pytest

from audio_tokens.errors import UserError
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.quality import Quality, quality
from tests.jobs.toy_tokens import recipe, toy_codebook, toy_shards


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality")
    shards = toy_shards(folder)
    codebook = toy_codebook(shards, folder / "codebook")
    encode(Encode(shards=shards, codebook=codebook, out=str(folder / "tokens.zarr"), workers=1))
    return {"shards": shards, "codebook": codebook, "tokens": str(folder / "tokens.zarr")}


def test_the_report_holds_figures_of_what_was_not_fitted_on_and_pictures(made, tmp_path):
    quality(Quality(**made, out=str(tmp_path / "quality")))
    figures = json.loads((tmp_path / "quality" / "quality.json").read_text())
    assert figures["places"] == ["val", "test"]
    (stream,) = figures["streams"]
    assert stream["tokens"] == 20
    assert 1 <= stream["perplexity"] <= 20
    assert stream["mean_run_positions"] >= 1
    assert 0 < stream["entropy_rate_bits"] < 4.4  # log2(20)
    assert stream["label_information_bits"] > 0
    assert 0 < figures["variance_explained"][0] < 1
    assert 0 < figures["mel_error_db"] < 60
    assert 0 < figures["mel_error_level_known_db"] < 60
    assert 0 <= figures["token_bag"]["mAP"] <= 1
    pictures = {path.name for path in (tmp_path / "quality").glob("*.png")}
    assert pictures == {"clip.png", "tokens.png", "centroids-1.png", "rank-frequency-1.png"}


def test_tokens_of_another_codebook_are_refused(made, tmp_path):
    other = toy_codebook(made["shards"], tmp_path / "other", recipe=recipe(clusters=(7,)))
    with pytest.raises(UserError, match="was not made from"):
        quality(Quality(**{**made, "codebook": other}, out=str(tmp_path / "quality")))
