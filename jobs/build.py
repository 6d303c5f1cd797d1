"""build: labelled sound becomes mel shards."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from audio_tokens.errors import UserError, masked
from audio_tokens.jobs.artefacts.task_command import TaskOptions
from audio_tokens.jobs.command import command
from audio_tokens.jobs.display.loudness import say

if TYPE_CHECKING:
    from audio_tokens.shards.sources.registry import Source


@dataclass(frozen=True, kw_only=True)
class Build(TaskOptions):
    """Turn labelled sound into mel shards.

    The same command resumes a build that was interrupted, whatever interrupted it.

    Args:
        source: KIND:WHERE, see the table below
        out: the folder of the shards
        mel: the front end, mel22k, ast16k or speech16k, or a file (YAML, JSON) of the fields that differ from mel22k's
        channels: how the channels of a file become one, in place of the front end's own: auto is the mean, or the
            loudest channel where they cancel each other in it
        segments: where AudioSet's segment lists lie, if not beside its files
        limit_clips: only the first so many clips (of a dry run: how many are measured)
        dry_run: measure a sample and say what the build would take, without building
        dtype: float16, or uint8 (half the bytes, error at most 0.16 dB)
        zstd: compress the arrays
    """

    source: str
    out: str
    mel: str = "mel22k"
    channels: Literal["auto", "mean", "left", "right", "loudest"] | None = None
    segments: str | None = None
    limit_clips: int | None = None
    dry_run: bool = False
    dtype: Literal["float16", "uint8"] = "float16"
    zstd: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit_clips is not None and self.limit_clips <= 0:
            raise UserError(f"--limit_clips {self.limit_clips}: it must be above 0")
        if "://" in self.out:
            raise UserError(f"--out {self.out}: shards are written to a local folder; copy them from there")
        if self.segments is not None and not self.source.startswith("audioset:"):
            raise UserError(f"--segments {self.segments}: only audioset: has segment lists, not {self.source}")


def build(config: Build, source: "Source | None" = None) -> int:
    """Build the data set, or this job's part of it. Returns 0, or 1 when tasks failed.

    `source` is the configuration's, where it is open already.
    """
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.shards.publish import target_lock

    if config.dry_run:
        return _build(config, source)
    claim(config.out, "data set", [config.source, config.segments])
    with target_lock(config.out, shared=config.task_count > 1):
        return _build(config, source)


def _build(config: Build, source: "Source | None") -> int:
    from audio_tokens.shards.sources.addresses.reach import allow
    from audio_tokens.shards.sources.registry import first_clips, numbered, open_source

    allow(config.allow)
    # a mistake in it is told before anything heavy is imported
    source = source or open_source(config.source + (f",segments={config.segments}" if config.segments else ""))

    from threadpoolctl import threadpool_limits

    from audio_tokens.engine.sound.log_mel import FrontEnd
    from audio_tokens.jobs.artefacts.fingerprints import digest
    from audio_tokens.jobs.artefacts.task_command import run_set
    from audio_tokens.jobs.inputs.dry_run import dry_run
    from audio_tokens.jobs.inputs.front_end import ClipToMel, front_end_config
    from audio_tokens.shards.dataset.packing import Packing
    from audio_tokens.shards.tasks.shard_maker import ShardMaker
    from audio_tokens.shards.tasks.task_set import TaskSet, fingerprint
    from audio_tokens.shards.tasks.task_shards import ShardConfig

    mel, packing = front_end_config(config.mel), Packing(dtype=config.dtype, zstd=config.zstd)
    if config.channels is not None:
        mel = replace(mel, channels=config.channels)
    for note in getattr(source, "notes", ()):
        say(f"build: {note}")
    tasks = source.tasks()
    if config.dry_run:
        with threadpool_limits(1):  # as in a worker
            report = dry_run(
                source, tasks, mel=mel, packing=packing, workers=config.processes, clips=config.limit_clips
            )
        print("\n".join(report))
        return 0
    tasks = tasks if config.limit_clips is None else first_clips(tasks, config.limit_clips)
    maker = ShardMaker(
        to_mel=ClipToMel(FrontEnd(mel), config.longest_clip_s),
        config=ShardConfig(packing=packing),
        about={"source": masked(config.source), "mel": config.mel},
        producer={"mel": mel.to_dict()},
    )
    settings = digest(maker.producer, asdict(maker.config), source.labels, *config.beside_defaults)
    task_set = TaskSet(
        folder=Path(config.out).resolve(),  # a cluster's workers may stand elsewhere
        source=source,
        maker=maker,
        clip_timeout_s=config.clip_timeout_s,
        settings=settings,
        fingerprint=fingerprint(settings, tasks),
    )
    return run_set(
        config,
        task_set,
        numbered(tasks),
        title="build",
        way=f"{config.source} -> {config.out}",
        out=config.out,
        told=lambda: _said(config.out),
    )


def _said(out: str) -> str:
    from audio_tokens.jobs.inputs.learnable import problems_of
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset = Dataset.open(out)
    totals, notes = dataset.manifest["totals"], dataset.manifest.get("notes", {})
    said = [f"{out}: {totals['clips']} clips written, {totals['rejected']} rejected (rejects.jsonl)"]
    said += [f"{count} of them: {note}" for note, count in notes.items()]
    said += [f"warning: left out: {task}" for task in dataset.manifest.get("left_out", [])]
    said += [f"warning: {problem}" for problem in problems_of(dataset)]
    return "\nbuild: ".join(said)


def main(argv: Sequence[str] | None = None) -> int:
    return command(Build, build, argv, epilog=_sources)


def _sources() -> str:
    from audio_tokens.shards.sources.registry import sources_table

    return sources_table()


if __name__ == "__main__":
    sys.exit(main())
