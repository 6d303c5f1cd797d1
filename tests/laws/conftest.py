"""One of each artefact, small, made once for all laws that damage copies of them."""

from pathlib import Path

import pytest

from audio_tokens.jobs import cli

SMALL = "--options.epochs 1 --options.width 16 --options.batch_clips 16"


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, codebook, tokens.zarr, and the runs bag (evaluated), lstm and body (a pre-training)."""
    work = tmp_path_factory.mktemp("artefacts")
    tokens = f"--tokens {work}/tokens.zarr"
    for words in (
        f"build --source soundscapes:60,clip_s=1 --out {work}/shards --workers 1",
        f"cluster --shards {work}/shards --out {work}/codebook --recipe.kmeans.clusters 20",
        f"encode --shards {work}/shards --codebook {work}/codebook --out {work}/tokens.zarr --workers 1",
        f"train {tokens} --system token-bag --out {work}/bag",
        f"evaluate --run {work}/bag --split test --replicates 10",
        f"train {tokens} --system token-lstm --out {work}/lstm {SMALL}",
        f"pretrain {tokens} --out {work}/body {SMALL} --options.heads 2 --options.layers 1",
    ):
        assert cli.main(words.split()) == 0, words
    return work
