"""encode: mel shards, or sound itself, become tokens.zarr by a codebook."""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

from tqdm import tqdm

from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command

# Starting a process costs about as much as encoding so many clips of ten seconds from mel.
CLIPS_PER_WORKER = 512


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Turn mel shards, or sound itself, into tokens by a codebook.

    The same command resumes an encoding that was interrupted.

    Args:
        codebook: the folder of the codebook
        out: the token store to write, tokens.zarr
        shards: the folder of the mel shards
        source: sound to be encoded without mel shards: soundscapes[:CLIPS], esc50:DIR, csv:FILE, audioset:URL, wds:...
        views: views of every clip, made from sound and stored beside it for training, {count: 5} say
        seed: of the views
        top: also store so many nearest tokens of every position with their cosines, for soft assignment
        workers: processes; all cores unless given
        force: replace tokens that were made otherwise
    """

    codebook: str
    out: str
    shards: str | None = None
    source: str | None = None
    views: ViewConfig = field(default_factory=ViewConfig)
    seed: int = 0
    top: int = 1
    workers: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if (self.shards is None) == (self.source is None):
            raise UserError("name one of --shards SHARDS and --source SOURCE")
        if self.views.count and self.source is None:
            raise UserError(f"views.count is {self.views.count}, and views are made from sound: name --source SOURCE")
        for name in ("workers", "top"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")


def encode(job: Encode) -> int:
    """Encode what there is, or what an interrupted run left, into one store. Returns 1 when tasks failed, else 0."""
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.shards.publish import target_lock

    claim(job.out, "token store", [job.shards, job.source, job.codebook])
    with target_lock(job.out):
        return _encode(job)


def _encode(job: Encode) -> int:
    from audio_tokens.engine.codebook.codebook_file import Codebook
    from audio_tokens.engine.codebook.nearest.search import gpu_count
    from audio_tokens.jobs.artefacts.encoding import Encoding, FromShards, FromSource
    from audio_tokens.jobs.artefacts.fingerprints import digest, is_done
    from audio_tokens.shards.integrity import ids_of

    codebook = Codebook.load(job.codebook)
    if job.top > min(codebook.vocab_sizes):
        raise UserError(f"top is {job.top}; {job.codebook} has {min(codebook.vocab_sizes)} tokens")
    given = FromShards(job.shards) if job.shards else FromSource(str(job.source), codebook.mel, job.views, job.seed)
    if given.mel != codebook.mel:
        raise UserError(
            f"{job.codebook} was made for another mel configuration than {job.shards} has; cluster these shards anew"
        )
    out, parents = Path(job.out), ids_of(codebook=job.codebook, shards=job.shards)
    parents |= {} if job.shards else {"listing": given.parent}
    fingerprint = digest(given.parent, codebook.hash, job.top)
    if is_done(out, "token store", fingerprint, force=job.force):
        print(f"encode: {out} is complete already")
        return 0
    parts = out.with_name(f".{out.name}.parts") / fingerprint[:16]
    encoding = Encoding(
        input=given, codebook=job.codebook, codebook_hash=codebook.hash, top=job.top, parts=parts, gpus=gpu_count()
    )
    todo = [index for index in range(len(given.tasks)) if not encoding.record(index).exists()]
    print(f"encode: {job.shards or job.source} -> {out}: {len(todo)} of {len(given.tasks)} tasks to do")
    clips = [given.clips_per_task[index] for index in todo]
    total = None if None in clips else sum(count for count in clips if count is not None)
    worth = 1 + total // CLIPS_PER_WORKER if job.shards and total is not None else len(todo)
    with tqdm(total=total, unit=" clips", desc="encode", smoothing=0.1) as bar:
        failures = encoding.run_all(todo, min(job.workers or os.cpu_count() or 1, len(todo), worth), bar.update)
    for failure in failures:
        print(f"encode: {failure}", file=sys.stderr)
    if failures:
        print(f"encode: {len(failures)} tasks failed; the same command tries them again", file=sys.stderr)
        return 1
    attributes = {
        "codebook": codebook.hash,
        "dataset": given.parent,
        "fingerprint": fingerprint,
        "vocab_sizes": list(codebook.vocab_sizes),
        "context_frames": min(codebook.slices.contexts),
        "stride_frames": codebook.slices.stride,
        "views": job.views.count,
        "labels": list(given.labels),
        "origin": codebook.origin,
    }
    try:
        rejected = encoding.pack(out, attributes, parents)
    except UserError:
        raise
    except (BadZipFile, ValueError, KeyError, EOFError, FileNotFoundError) as error:
        raise UserError(f"{parts} is damaged ({error}); remove that folder and give the same command again") from None
    shutil.rmtree(parts.parent)
    print(f"encode: {out}{f': {rejected} clips rejected, see its rejects.jsonl' if rejected else ' is complete'}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return command(Encode, encode, argv)


if __name__ == "__main__":
    sys.exit(main())
