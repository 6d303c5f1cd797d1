"""One of each artefact, small, made once for all that damages copies of them."""

from pathlib import Path

from audio_tokens.jobs import cli

SMALL = "--options.epochs 1 --options.width 16 --options.batch_clips 16"


def make_artefacts(work: Path) -> None:
    """Fill a folder with shards, codebook, tokens.zarr, the runs bag (evaluated) and lstm, and body, a pre-training."""
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
