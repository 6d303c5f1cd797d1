"""compare: two systems on the same clips, with a paired bootstrap p-value and the classes that moved most."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two runs on the clips both were tested on.

    Args:
        a: the run's folder, or several, one a fold, separated by commas
        b: the same of the other system
        replicates: bootstrap samples
        most_classes: how many classes are listed, those that moved most
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    replicates: int = 1000
    most_classes: int = 5


def compare(job: Compare) -> None:
    """Print the figures of both, what B has more than A with its 95 % interval and p, and the classes apart."""
    import numpy as np

    from audio_tokens.engine.scores.bootstrap import difference
    from audio_tokens.engine.scores.metrics import score
    from audio_tokens.jobs.artefacts.run_folder import Predictions, RunFolder

    if job.most_classes < 0:
        raise UserError(f"--most-classes {job.most_classes}: name a number from 0")
    a, b = (Predictions.joined([RunFolder(Path(run)).predictions() for run in runs]) for runs in (job.a, job.b))
    b = b.in_order_of(a)
    if not np.array_equal(a.targets_CL, b.targets_CL):
        raise UserError(
            "the two runs were tested against other labels of the same clips; compare runs on the same data"
        )
    scores = [score(run.scores_CL, run.targets_CL) for run in (a, b)]
    again = [run.replicates(job.replicates) for run in (a, b)]
    print(f"{len(a.keys)} clips, {job.replicates} bootstrap samples")
    for name in again[0]:
        first, second = (getattr(figures, name) for figures in scores)
        found = difference(again[0][name], again[1][name], second - first)
        print(
            f"{name:<9}A {100 * first:5.1f} %  B {100 * second:5.1f} %  B - A {100 * found.value:+5.1f} "
            f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]  p {found.p:.3f}"
        )
    moved_L = np.nan_to_num(scores[1].ap_L - scores[0].ap_L)
    for label in np.argsort(-np.abs(moved_L), kind="stable")[: job.most_classes]:
        print(f"  {a.labels[label]:<28.28}{100 * moved_L[label]:+6.1f}  ({scores[0].positives_L[label]} clips)")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Compare, compare, argv)


if __name__ == "__main__":
    sys.exit(main())
