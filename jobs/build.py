"""build: labelled sound becomes mel shards."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command

CLIP_TIMEOUTS_S = (0.01, 86_400)


@dataclass(frozen=True, kw_only=True)
class Build:
    """Turn labelled sound into mel shards.

    The same command resumes a build that was interrupted, whatever interrupted it.

    Args:
        source: soundscapes[:CLIPS[,clip_s=4]], esc50:DIR, csv:FILE, audioset:URL or wds:PATTERN
        out: the folder of the shards
        mel: the front end, mel22k or ast16k, or a YAML file with the fields of one that differ from mel22k's
        workers: processes; all cores unless given
        dask: the address of a Dask scheduler (tcp://...), whose workers take the place of local ones
        segments: where AudioSet's segment lists lie, if not beside its files
        task_index: this job's number in a job array, from 0
        task_count: jobs in the array; the one that finishes last commits the data set
        limit_clips: only the first so many clips (of a dry run: how many are measured)
        dry_run: measure a sample and say what the build would take, without building
        dtype: float16, or uint8 (half the bytes, error at most 0.16 dB)
        zstd: compress the arrays
        clip_timeout_s: a clip that takes longer to decode is rejected
        force: replace what another source or configuration left in the folder
    """

    source: str
    out: str
    mel: str = "mel22k"
    workers: int | None = None
    dask: str | None = None
    segments: str | None = None
    task_index: int = 0
    task_count: int = 1
    limit_clips: int | None = None
    dry_run: bool = False
    dtype: Literal["float16", "uint8"] = "float16"
    zstd: bool = False
    clip_timeout_s: float = 60.0
    force: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.task_index < self.task_count:
            raise UserError(f"task_index {self.task_index} is not in 0..{self.task_count - 1} (task_count - 1)")
        for name in ("workers", "limit_clips"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"--{name} {value}: it must be above 0")
        if not CLIP_TIMEOUTS_S[0] <= self.clip_timeout_s <= CLIP_TIMEOUTS_S[1]:
            raise UserError(
                f"--clip_timeout_s {self.clip_timeout_s:g}: it must lie between {CLIP_TIMEOUTS_S[0]} and "
                f"{CLIP_TIMEOUTS_S[1]} seconds"
            )
        if "://" in self.out:
            raise UserError(f"--out {self.out}: shards are written to a local folder; copy them from there")
        if self.segments is not None and not self.source.startswith("audioset:"):
            raise UserError(f"--segments {self.segments}: only audioset: has segment lists, not {self.source}")


def build(config: Build) -> int:
    """Build the data set, or this job's part of it. Returns 0, or 1 when tasks failed."""
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.shards.publish import target_lock

    if config.dry_run:
        return _build(config)
    claim(config.out, "data set", [config.source, config.segments])
    with target_lock(config.out, shared=config.task_count > 1):
        return _build(config)


def _build(config: Build) -> int:
    from threadpoolctl import threadpool_limits

    from audio_tokens.engine.sound.log_mel import FrontEnd
    from audio_tokens.jobs.display.progress import ClipBar
    from audio_tokens.jobs.inputs.dry_run import dry_run
    from audio_tokens.jobs.inputs.front_end import ClipToMel, front_end_config
    from audio_tokens.shards.dataset.packing import Packing
    from audio_tokens.shards.sources.registry import first_clips, numbered, open_source
    from audio_tokens.shards.tasks.build_folder import is_recorded, prepare
    from audio_tokens.shards.tasks.commit import commit
    from audio_tokens.shards.tasks.run_tasks import run_tasks
    from audio_tokens.shards.tasks.task import Job, fingerprint, settings_digest
    from audio_tokens.shards.tasks.task_shards import ShardConfig
    from audio_tokens.shards.workers.dask_pool import dask_pool
    from audio_tokens.shards.workers.local_pool import local_pool

    mel, packing = front_end_config(config.mel), Packing(dtype=config.dtype, zstd=config.zstd)
    workers = config.workers or os.cpu_count() or 1
    source = open_source(config.source + (f",segments={config.segments}" if config.segments else ""))
    tasks = source.tasks()
    if config.dry_run:
        with threadpool_limits(1):  # as in a worker
            report = dry_run(source, tasks, mel=mel, packing=packing, workers=workers, clips=config.limit_clips)
        print("\n".join(report))
        return 0
    tasks = tasks if config.limit_clips is None else first_clips(tasks, config.limit_clips)
    shards, producer = ShardConfig(packing=packing), {"mel": mel.to_dict()}
    settings = settings_digest(producer, shards, source.labels)
    job = Job(
        folder=Path(config.out).resolve(),  # a cluster's workers may stand elsewhere
        source=source,
        transform=ClipToMel(FrontEnd(mel)),
        config=shards,
        clip_timeout_s=config.clip_timeout_s,
        settings=settings,
        fingerprint=fingerprint(settings, tasks),
    )
    listed = numbered(tasks)
    if prepare(job, listed, force=config.force):
        print(f"build: {config.out} is complete already")
        return 0
    mine = listed[config.task_index :: config.task_count]
    todo = [(index, task) for index, task in mine if not is_recorded(job, index)]
    print(f"build: {config.source} -> {config.out}: {len(todo)} of {len(mine)} tasks to do")
    pool = dask_pool(config.dask) if config.dask is not None else local_pool(min(workers, max(1, len(todo))))
    with pool as executor, ClipBar((task for _, task in todo), "build") as bar:
        failures = run_tasks(executor, job, todo, bar.show)
    for failure in failures:
        print(f"build: task {failure.call[1].name!r} failed three times: {failure.reason}", file=sys.stderr)
    if failures:
        print(f"build: {len(failures)} tasks failed; the same command tries them again", file=sys.stderr)
        return 1
    numbers = [number for number, _ in listed]
    if commit(job, numbers, about={"source": config.source, "mel": config.mel}, producer=producer):
        _say(config.out)
    else:
        print("build: this part is done; the job that finishes last commits the data set")
    return 0


def _say(out: str) -> None:
    from audio_tokens.shards.dataset.manifest import Dataset

    totals = Dataset.open(out).manifest["totals"]
    print(f"build: {out}: {totals['clips']} clips written, {totals['rejected']} rejected (rejects.jsonl)")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Build, build, argv)


if __name__ == "__main__":
    sys.exit(main())
