"""demo: every stage on the embedded soundscapes, small enough for a laptop, then a leaderboard and a report."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from audio_tokens.jobs.command import command
from audio_tokens.jobs.run import Run, run


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Every stage on the embedded soundscapes, then a leaderboard and a report.

    Args:
        work: the folder that holds all artefacts
        clips: how many 4-s clips are synthesised
    """

    work: str = "work/demo"
    clips: int = 1500


def demo(job: Demo) -> int:
    """Run all seven systems with the default recipe on `clips` soundscapes of 4 s."""
    return run(Run(source=f"soundscapes:{job.clips},clip_s=4", work=job.work))


def main(argv: Sequence[str] | None = None) -> int:
    return command(Demo, demo, argv)


if __name__ == "__main__":
    sys.exit(main())
