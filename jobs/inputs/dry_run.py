"""What a build would take, from a measured sample of its clips: time, space, and the stage that binds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import numpy as np

from audio_tokens.engine.sound.decode import resample
from audio_tokens.engine.sound.log_mel import LogMel, MelConfig
from audio_tokens.errors import ClipError, UserError
from audio_tokens.jobs.inputs.front_end import decoded
from audio_tokens.shards.dataset.packing import Packing
from audio_tokens.shards.dataset.tar_shard import Sample, pack_sample
from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import Source, Task

SAMPLE_CLIPS = 64
SAMPLE_TASKS = 8  # a sample is spread over so many tasks: the first file of a set is seldom like the last
WARM_UP_SAMPLES = 100_000
STAGES = ("read", "decode", "resample", "mel", "pack")


def dry_run(
    source: Source, tasks: list[Task], *, mel: MelConfig, packing: Packing, workers: int, clips: int | None
) -> list[str]:
    """Return the report, line by line: tasks, clips, clips/s, the share of each stage, bytes and hours for all.

    `clips` is the size of the sample. Raises what reading the source raises.
    """
    seconds = dict.fromkeys(STAGES, 0.0)
    done = rejected = stored_bytes = sound_bytes = 0
    log_mel = LogMel(mel)
    log_mel(resample(np.zeros(WARM_UP_SAMPLES, np.float32), 2 * mel.rate_hz, mel.rate_hz))  # imports and first touches
    failed: list[str] = []
    for item in _sample(source, tasks, clips or SAMPLE_CLIPS, seconds, failed):
        done += 1
        if isinstance(item, Reject):
            rejected += 1
            continue
        try:
            with _timed(seconds, "read"):
                sound = item.sound()
            with _timed(seconds, "decode"):
                wave_S, rate_hz = decoded(sound, item, mel.channels)
            with _timed(seconds, "resample"):
                wave_S = resample(wave_S, rate_hz, mel.rate_hz)
            with _timed(seconds, "mel"):
                mel_TF = log_mel(wave_S)
            with _timed(seconds, "pack"):
                stored_bytes += pack_sample(Sample(item.key, mel_TF, {"id": item.source_id}), packing).tar_bytes
            sound_bytes += len(sound) if isinstance(sound, bytes) else 0  # a long file is its own listing
        except (ClipError, OSError):
            rejected += 1
    total_s, written = sum(seconds.values()), max(1, done - rejected)
    total, how = _total_clips(tasks, sound_bytes / written)
    rate = done / total_s if total_s else 0.0
    lines = [f"dry run: {len(tasks):,} tasks, {total:,} clips{how}; {done} measured, {rejected} of them rejected"]
    if done > rejected:
        binding = max(STAGES, key=lambda stage: seconds[stage])
        shares = ", ".join(f"{stage} {100 * seconds[stage] / total_s:.0f} %" for stage in STAGES)
        lines += [
            f"  {rate:,.1f} clips/s a worker: {shares}; {binding} binds",
            f"  {total * stored_bytes / written / 1e9:,.2f} GB of shards",
            f"  {total / (rate * workers) / 3600:,.2f} hours on {workers} workers",
        ]
    return lines + failed


def _sample(
    source: Source, tasks: list[Task], clips: int, seconds: dict[str, float], failed: list[str]
) -> Iterator[Clip | Reject]:
    """Yield about `clips` clips, from tasks spread over the list; making them counts as reading.

    A task that cannot be read, and would fail, is a line in `failed`. Raises UserError for a user's mistake.
    """
    chosen = tasks[:: max(1, len(tasks) // SAMPLE_TASKS)][:SAMPLE_TASKS]
    for number, task in enumerate(chosen):
        share = clips * (number + 1) // len(chosen) - clips * number // len(chosen)
        found = islice(source.clips(task), share)
        while True:
            try:
                with _timed(seconds, "read"):
                    item = next(found, None)
            except UserError:
                raise
            except Exception as error:
                failed.append(f"  task {task.name!r} fails: {type(error).__name__}: {' '.join(str(error).split())}")
                break
            if item is None:
                break
            yield item


def _total_clips(tasks: list[Task], bytes_a_clip: float) -> tuple[int, str]:
    """Return the number of all clips and a word on how it is known: listed, or estimated from the files' lengths."""
    listed = sum(task.promised_clips or 0 for task in tasks)
    unlisted_bytes = sum(task.bytes or 0 for task in tasks if task.promised_clips is None)
    if all(task.promised_clips is not None for task in tasks):
        return listed, ""
    return listed + round(unlisted_bytes / bytes_a_clip if bytes_a_clip else 0), " (estimated)"


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] += time.perf_counter() - start
