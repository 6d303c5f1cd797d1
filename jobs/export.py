"""export: tokens.zarr becomes parquet files, as Hugging Face's `datasets` and every table reader take them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.display.loudness import say

ROWS = 50_000  # clips a file: about 20 MB


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write tokens as parquet: id, group, tokens (a list of streams a position) and labels, a folder per split or fold.

    Args:
        tokens: the token store
        out: the folder of the parquet files
        force: replace an export of other tokens
    """

    tokens: str
    out: str
    force: bool = False


def export(job: Export) -> None:
    """Write `<place>-00000.parquet` files; `datasets.load_dataset("parquet", data_dir=...)` reads them as they are."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from audio_tokens.jobs.artefacts.fingerprints import digest
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.shards.publish import published_folder, target_lock
    from audio_tokens.shards.tokens.token_store import TokenStore

    claim(job.out, "export", [job.tokens])
    store, out = TokenStore.open(job.tokens), Path(job.out)
    facts = {"codebook": store.codebook_hash, "vocab_sizes": str(list(store.vocab_sizes))}
    facts["fingerprint"] = digest(store.attributes["fingerprint"], facts, ROWS)
    with target_lock(out):
        if not job.force and (found := _fingerprints(out)):
            if found == {facts["fingerprint"]}:
                say(f"export: {out} is complete already")
                return
            raise UserError(f"{out} holds an export of other tokens; --force replaces it, or choose another --out")
        with published_folder(out) as folder:
            for place in store.places:
                group = store.group(place)
                for number, first in enumerate(range(0, len(group), ROWS)):
                    clips = slice(first, min(first + ROWS, len(group)))
                    bounds = np.arange(clips.start, clips.stop + 1)
                    ids = group.ids_PQ[group.offsets[clips.start] : group.offsets[clips.stop]]
                    labels = group.label_ids[group.label_offsets[clips.start] : group.label_offsets[clips.stop]]
                    positions = pa.FixedSizeListArray.from_arrays(pa.array(ids.ravel()), ids.shape[1])
                    names = pa.array(np.array(store.labels, dtype=object)[labels], pa.string())
                    table = pa.table(
                        {
                            "id": group.keys[clips],
                            "group": group.groups[clips],
                            "tokens": pa.LargeListArray.from_arrays(
                                group.offsets[bounds] - group.offsets[first], positions
                            ),
                            "labels": pa.LargeListArray.from_arrays(
                                group.label_offsets[bounds] - group.label_offsets[first], names
                            ),
                        },
                        metadata=facts,
                    )
                    pq.write_table(table, folder / f"{place}-{number:05d}.parquet", compression="zstd")
    say(f"export: {out}: {', '.join(store.places)}")


def _fingerprints(out: Path) -> set[str]:
    """Return what the parquet files of an export were made from; "" for one that does not tell."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    found = set()
    for file in out.glob("*.parquet"):
        try:
            found.add((read_metadata(file).metadata or {}).get(b"fingerprint", b"").decode())
        except (ArrowException, OSError, ValueError):  # torn
            found.add("")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    return command(Export, export, argv)


if __name__ == "__main__":
    sys.exit(main())
