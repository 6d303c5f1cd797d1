"""plan: what a data set of a given size will take, stage by stage, from rates that were measured."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from audio_tokens.engine.ranges import Count, Natural, NotNegative, Positive, check
from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Say what every stage takes: hours, cores, bytes, memory, money, what binds, and where more cores stop paying.

    The rates are of recipe `default` and of one core of the machine that they name; cores share the work evenly.
    `build` has the synthesis of soundscapes in it: what your own files take, `build --dry-run` measures.

    Args:
        clips: how many clips
        clip_s: seconds of each
        epochs: of every training
        cores: that work at once; all of this machine's where none are named
        sound_kb_s: kB of the sound files for a second of sound; FLAC of 48 kHz stereo has about 120
        build_clips_s: clips a second and worker, as `build --dry-run` measured on your own files
        disk_mb_s: MB a second that the disk gives all cores together
        price_core_h: money for a core hour, in whatever currency
        rates: the JSON file of a machine's rates
        calibrate: measure this machine's rates on so many soundscapes first, and write them into that file
        json: print one JSON object
    """

    rates: str
    clips: Count = 2_000_000
    clip_s: Positive = 10.0
    epochs: Count = 20
    cores: Count | None = None
    sound_kb_s: NotNegative = 120.0
    build_clips_s: Positive | None = None
    disk_mb_s: Positive = 500.0
    price_core_h: NotNegative = 0.0
    calibrate: Natural = 0
    json: bool = False

    def __post_init__(self) -> None:
        check(self)


def plan(job: Plan) -> None:
    """Measure where asked to, then print the bill."""
    from audio_tokens.jobs.bill.bill import Terms, bill, table
    from audio_tokens.jobs.bill.stage_rates import Rates
    from audio_tokens.jobs.bill.work import of_recipe
    from audio_tokens.jobs.display.loudness import say

    if job.calibrate:
        from audio_tokens.jobs.bill.calibrate import calibrate

        calibrate(job.calibrate, job.clip_s, lambda line: say(f"plan: {line}")).save(Path(job.rates))
    rates = Rates.load(Path(job.rates))
    if job.build_clips_s is not None:
        rates = rates.with_build(1 / (job.build_clips_s * job.clip_s))
    work = of_recipe(rates.recipe, job.clips, job.clip_s, job.epochs)
    cores = job.cores or os.cpu_count() or 1
    items = bill(
        rates, work, Terms(cores=cores, disk_mb_s=job.disk_mb_s, price_core_h=job.price_core_h), job.sound_kb_s * 1e3
    )
    if job.json:
        print(json.dumps({"machine": rates.machine, "cores": cores, "stages": [asdict(item) for item in items]}))
        return
    print(f"{job.clips:,} clips of {job.clip_s:g} s on {cores} cores like those of {rates.machine}")
    print("\n".join(table(items, priced=job.price_core_h > 0)))


def main(argv: Sequence[str] | None = None) -> int:
    return command(Plan, plan, argv)


if __name__ == "__main__":
    sys.exit(main())
