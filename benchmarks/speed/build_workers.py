"""From FLAC to mel shards by one worker and by two, both pools warm: the rate of a long build.

Expected before measuring, on two idle cores: 1.85 to 1.95 times (both share memory bandwidth and the last-level cache;
at the end one worker waits for the other's last task of 128 clips, one part in eight of this data).
"""

from itertools import count

from audio_tokens.shards.sources.listed import TASK_CLIPS
from audio_tokens.shards.workers.local_pool import local_pool
from benchmarks.harness import Report
from benchmarks.inputs.flac_clips import flac_list
from benchmarks.inputs.task_engine import task_engine


def bench(report: Report) -> None:
    clips = (2 if report.quick else 8) * TASK_CLIPS
    listed = flac_list(report.folder / "flac", clips=clips)
    folders = (report.folder / f"shards-{number}" for number in count())
    with local_pool(1) as one, local_pool(2) as two:
        contenders = {
            "two workers": lambda: task_engine(listed, next(folders)).run(two),
            "one worker": lambda: task_engine(listed, next(folders)).run(one),
        }
        race = report.race(f"{clips} clips", contenders, work=clips, unit="clips", rounds=3, round_s=0)
    report.bar("speed of two workers over one", race.speedup("one worker"), at_least=1.8)
