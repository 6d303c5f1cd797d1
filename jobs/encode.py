"""encode: mel shards and a codebook become tokens.zarr."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tqdm import tqdm

from jobs.command import command
from jobs.errors import JobError

# Starting a process costs about as much as encoding so many clips of ten seconds.
CLIPS_PER_WORKER = 512


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Turn mel shards into tokens by a codebook.

    The same command resumes an encoding that was interrupted.

    Args:
        shards: the folder of the mel shards
        codebook: the folder of the codebook
        out: the token store to write, tokens.zarr
        workers: processes; all cores unless given
        force: replace tokens that were made otherwise
    """

    shards: str
    codebook: str
    out: str
    workers: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise JobError(f"workers is {self.workers}; it must be at least 1")


def encode(job: Encode) -> None:
    """Encode every shard, or those that an interrupted run left, and pack the tokens into one store."""
    import shutil

    from engine.codebook import Codebook
    from jobs.origin import digest, is_done
    from shards.dataset import Dataset
    from shards.token_parts import pack

    dataset, codebook = Dataset.open(job.shards), Codebook.load(job.codebook)
    if dataset.producer.get("mel") != codebook.mel:
        raise JobError(
            f"{job.codebook} was made for another mel configuration than {job.shards} has; cluster these shards anew"
        )
    fingerprint = digest(dataset.hash, codebook.hash)
    out = Path(job.out)
    if is_done(out, "token store", fingerprint, force=job.force):
        print(f"encode: {out} is complete already")
        return
    parts = out.with_name(f".{out.name}.parts") / fingerprint[:16]
    paths = [parts / f"{index:06d}.npz" for index in range(len(dataset.shards))]
    todo = [index for index, path in enumerate(paths) if not path.exists()]
    print(f"encode: {job.shards} -> {out}: {len(todo)} of {len(paths)} shards to do")
    clips = sum(dataset.shards[index].clips for index in todo)
    with tqdm(total=clips, unit=" clips", desc="encode", smoothing=0.1) as bar:
        for done in _encoded(job, [(index, paths[index]) for index in todo], clips):
            bar.update(done)
    attributes = {
        "codebook": codebook.hash,
        "dataset": dataset.hash,
        "fingerprint": fingerprint,
        "vocab_sizes": list(codebook.vocab_sizes),
        "labels": list(dataset.labels),
        "single_label": dataset.single_label,
        "origin": codebook.origin,
    }
    pack(out, {place: [paths[index] for index in dataset.shards_of(place)] for place in dataset.places}, attributes)
    shutil.rmtree(parts.parent)


def encode_shard(shards: str, codebook: str, index: int, path: Path) -> int:
    """Write the part of one shard, in whatever process; return its number of clips."""
    from threadpoolctl import threadpool_limits

    from shards.token_parts import TokenClip, write_part

    dataset, tokenizer = _opened(shards, codebook)
    with threadpool_limits(1):  # a worker per core: a second thread each only gets in the way
        return write_part(
            path,
            (
                TokenClip(
                    key=sample.key,
                    group=sample.meta["group"],
                    label_ids=sample.meta["labels"],
                    ids_PQ=tokenizer.encode_mel(sample.array_TF),
                    beside={},
                )
                for sample in dataset.read(index)
            ),
        )


@lru_cache(maxsize=1)
def _opened(shards: str, codebook: str):
    from engine.tokenizer import AudioTokenizer
    from shards.dataset import Dataset

    return Dataset.open(shards), AudioTokenizer.from_pretrained(codebook)


def _encoded(job: Encode, todo: Sequence[tuple[int, Path]], clips: int) -> Iterator[int]:
    """Yield the clips of each part as it is finished."""
    from concurrent.futures import as_completed

    from shards.pool import local_pool

    _opened.cache_clear()
    workers = min(job.workers or os.cpu_count() or 1, len(todo), 1 + clips // CLIPS_PER_WORKER)
    if workers <= 1:
        yield from (encode_shard(job.shards, job.codebook, index, path) for index, path in todo)
        return
    with local_pool(workers) as executor:
        futures = [executor.submit(encode_shard, job.shards, job.codebook, index, path) for index, path in todo]
        for future in as_completed(futures):
            yield future.result()


def main(argv: Sequence[str] | None = None) -> int:
    return command(Encode, encode, argv)


if __name__ == "__main__":
    sys.exit(main())
