"""encode: mel shards, or sound itself, become tokens.zarr by a codebook."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from audio_tokens.engine.ranges import Count, Natural
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.task_command import TaskOptions
from audio_tokens.jobs.command import command
from audio_tokens.jobs.display.loudness import say

# Starting a process costs about as much as encoding so many clips of ten seconds from mel.
CLIPS_PER_WORKER = 512


@dataclass(frozen=True, kw_only=True)
class Encode(TaskOptions):
    """Turn mel shards, or sound itself, into tokens by a codebook.

    The same command resumes an encoding that was interrupted.

    Args:
        codebook: the folder of the codebook
        out: the token store to write, tokens.zarr
        shards: the folder of the mel shards, or its URL
        source: sound to be encoded without mel shards, KIND:WHERE as for build, whose help lists them
        views: views of every clip, made from sound and stored beside it for training, {count: 5} say
        seed: of the views
        top: also store so many nearest tokens of every position with their cosines, for soft assignment
    """

    codebook: str
    out: str
    shards: str | None = None
    source: str | None = None
    views: ViewConfig = field(default_factory=ViewConfig)
    seed: Natural = 0
    top: Count = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.shards is None) == (self.source is None):
            raise UserError("name one of --shards SHARDS and --source SOURCE")
        if self.views.count and self.source is None:
            raise UserError(f"views.count is {self.views.count}, and views are made from sound: name --source SOURCE")


def encode(config: Encode) -> int:
    """Encode what there is, or this job's part of it, into one store. Returns 1 when tasks failed, else 0."""
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.shards.publish import target_lock

    claim(config.out, "token store", [config.shards, config.source, config.codebook])
    with target_lock(config.out, shared=config.task_count > 1):
        return _encode(config)


def _encode(config: Encode) -> int:
    from audio_tokens.engine.codebook.codebook_file import Codebook
    from audio_tokens.engine.codebook.nearest.search import torch_gpus
    from audio_tokens.engine.sound.log_mel import FrontEnd
    from audio_tokens.engine.sound.mel_config import MelConfig
    from audio_tokens.jobs.artefacts.encoding import ShardClips, TokenMaker, only_itself
    from audio_tokens.jobs.artefacts.fingerprints import digest, is_done
    from audio_tokens.jobs.artefacts.task_command import run_set
    from audio_tokens.jobs.inputs.front_end import ClipToViews, View
    from audio_tokens.jobs.inputs.mel_lanes import mel_of
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.integrity import ids_of
    from audio_tokens.shards.sources.addresses.reach import allow
    from audio_tokens.shards.sources.registry import Source, Task, numbered, open_source
    from audio_tokens.shards.tasks.task_folder import remove
    from audio_tokens.shards.tasks.task_set import TaskSet

    allow(config.allow)
    codebook = Codebook.load(config.codebook)
    if config.top > min(codebook.vocab_sizes):
        raise UserError(f"top is {config.top}; {config.codebook} has {min(codebook.vocab_sizes)} tokens")
    source: ShardClips | Source
    to_views: Callable[..., list[View]]
    drawn = (*((asdict(config.views), config.seed) if config.views.count else ()), *config.beside_defaults)
    if config.shards is not None:
        dataset = Dataset.open(config.shards if "://" in config.shards else Path(config.shards).resolve())
        if mel_of(dataset) != codebook.mel:
            raise UserError(
                f"{config.codebook} was made for another mel configuration than {config.shards} has; "
                "cluster these shards anew"
            )
        source, to_views, parent = ShardClips(dataset), only_itself, dataset.hash
        tasks = source.tasks()
    else:
        source = open_source(str(config.source))
        to_views = ClipToViews(
            FrontEnd(MelConfig.from_dict(codebook.mel)), config.views, config.seed, config.longest_clip_s
        )
        tasks = source.tasks()
        parent = digest(config.source, codebook.mel, source.labels, [asdict(task) for task in tasks], *drawn)
    parents = ids_of(codebook=config.codebook, shards=config.shards) | ({} if config.shards else {"listing": parent})
    out = Path(config.out).resolve()  # a cluster's workers may stand elsewhere
    parts, fingerprint = out.with_name(f".{out.name}.parts"), digest(parent, codebook.hash, config.top)
    if is_done(out, "token store", fingerprint, force=config.force):
        remove(parts)
        say(f"encode: {config.out} is complete already")
        return 0
    maker = TokenMaker(
        to_views=to_views,
        codebook=str(Path(config.codebook).resolve()),
        codebook_hash=codebook.hash,
        top=config.top,
        mixed=bool(config.views.mix),
        gpus=torch_gpus() if config.dask is None else 0,  # those of this machine are not the cluster's
        out=out,
        attributes={
            "codebook": codebook.hash,
            "dataset": parent,
            "fingerprint": fingerprint,
            "vocab_sizes": list(codebook.vocab_sizes),
            "context_frames": min(codebook.slices.contexts),
            "stride_frames": codebook.slices.stride,
            "views": config.views.count,
            "labels": list(source.labels),
            "origin": codebook.origin,
        },
        parents=parents,
    )
    task_set = TaskSet(
        folder=parts,
        source=source,
        maker=maker,
        clip_timeout_s=0 if config.shards else config.clip_timeout_s,  # nothing is decoded
        settings=digest(config.source, codebook.mel, source.labels, codebook.hash, config.top, *drawn),
        fingerprint=fingerprint,
        distinct=config.shards is not None,
    )

    def most_processes(todo: Sequence[Task]) -> int:
        """Sound needs processes that may die of it; mel stays here where a second process is not worth its start."""
        if config.source:
            return len(todo)
        worth = 1 + sum(task.promised_clips or 0 for task in todo) // CLIPS_PER_WORKER
        most = min(worth, config.processes, len(todo))
        return most if most > 1 else 0

    return run_set(
        config,
        task_set,
        numbered(tasks),
        title="encode",
        way=f"{config.shards or config.source} -> {config.out}",
        out=config.out,
        most_processes=most_processes,
        told=lambda: _said(config.out),
    )


def _said(out: str) -> str:
    from audio_tokens.shards.tokens.token_store import TokenStore

    attributes = TokenStore.open(out).attributes
    rejected = attributes["rejected"]
    said = [f"{out}{f': {rejected} clips rejected, see its rejects.jsonl' if rejected else ' is complete'}"]
    said += [f"warning: left out: {task}" for task in attributes.get("left_out", [])]
    return "\nencode: ".join(said)


def main(argv: Sequence[str] | None = None) -> int:
    return command(Encode, encode, argv)


if __name__ == "__main__":
    sys.exit(main())
