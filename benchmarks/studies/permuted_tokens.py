"""The control of every system that reads order: a copy of tokens, the positions of every clip in a random order.

    python -m benchmarks.studies.permuted_tokens --tokens RUN/tokens.zarr --out W/tokens.zarr
    audio-tokens train --tokens W/tokens.zarr ...

What stands at one position stays together, of all streams and alternatives, so that a bag has the same counts. Clips
are permuted in training and in test alike, each in an order of its own; what a system loses is what order gave it.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr

from audio_tokens.seeds import generator
from audio_tokens.shards.integrity import INTEGRITY, files_below, read_integrity, seal
from audio_tokens.shards.tokens.token_store import BESIDE, VIEWS, TokenStore
from benchmarks.studies.order import positions_permuted

OF_POSITIONS = {"ids", *BESIDE["ids"]}


def permute(tokens: Path, out: Path, seed: int = 0) -> None:
    """Write the store `tokens` to `out`, permuted. Raises FileExistsError where `out` is there already."""
    TokenStore.open(tokens)
    shutil.copytree(tokens, out)
    store = zarr.open_group(out, mode="r+")
    for place in TokenStore.open(out).places:
        for name in (place, place + VIEWS):
            if name not in store:
                continue
            group = store[name]
            assert isinstance(group, zarr.Group)
            arrays = dict(group.arrays())
            lengths_C = np.diff(arrays["offsets"][:])
            for array in arrays.keys() & OF_POSITIONS:
                alike = generator(seed, f"order control {name}")
                arrays[array][:] = positions_permuted(np.asarray(arrays[array][:]), lengths_C, alike)
    (out / INTEGRITY).unlink()
    made_of = read_integrity(tokens)
    seal(out, made_of.artefact, made_of.parents, files_below(out))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True, help="tokens.zarr")
    parser.add_argument("--out", type=Path, required=True, help="where the copy goes")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args(argv)
    permute(words.tokens, words.out, words.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
