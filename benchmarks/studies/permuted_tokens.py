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

from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.fingerprints import digest
from audio_tokens.seeds import generator
from audio_tokens.shards.integrity import INTEGRITY, files_below, read_integrity, seal
from audio_tokens.shards.publish import published_folder
from audio_tokens.shards.tokens.token_store import BESIDE, VIEWS, TokenStore
from benchmarks.studies.order import positions_permuted

OF_POSITIONS = {"ids", *BESIDE["ids"]}


def permute(tokens: Path, out: Path, seed: int = 0) -> None:
    """Write the store `tokens` to `out`, permuted: whole, and with a fingerprint of its own.

    Raises UserError where `tokens` is no whole store, or `out` is there already.
    """
    places, made_of = TokenStore.open(tokens).places, read_integrity(tokens)
    if out.exists():
        raise UserError(f"{out} is there already; remove it, or choose another --out")
    with published_folder(out) as folder:
        shutil.copytree(tokens, folder, dirs_exist_ok=True)
        store = zarr.open_group(folder, mode="r+")
        store.attrs["fingerprint"] = digest(store.attrs["fingerprint"], "positions permuted", seed)
        for name in (name for place in places for name in (place, place + VIEWS) if name in store):
            group = store[name]
            assert isinstance(group, zarr.Group)
            arrays = dict(group.arrays())
            lengths_C = np.diff(arrays["offsets"][:])
            for array in arrays.keys() & OF_POSITIONS:
                alike = generator(seed, f"order control {name}")
                arrays[array][:] = positions_permuted(np.asarray(arrays[array][:]), lengths_C, alike)
        (folder / INTEGRITY).unlink()
        seal(folder, made_of.artefact, made_of.parents, files_below(folder))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True, help="tokens.zarr")
    parser.add_argument("--out", type=Path, required=True, help="where the copy goes")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args(argv)
    try:
        permute(words.tokens, words.out, words.seed)
    except UserError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
