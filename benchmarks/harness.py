"""Races: our code, its peers and its floor take turns, so that whatever else the machine does meets all of them alike.

A bench is a module with `bench(report)`; its docstring says what is expected, before measuring. It hands races, figures
and bars to the report, which prints a table and writes JSON lines.
"""

import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from benchmarks import machine

Action = Callable[[], object]
FLOOR = "floor: "  # begins the name of a contender that no implementation can beat
ROUNDS, ROUND_S = 9, 0.2
QUICK_ROUNDS, QUICK_ROUND_S = 3, 0.03


@dataclass(frozen=True)
class Race:
    """Seconds a call, per contender and round; the first contender is ours."""

    seconds: Mapping[str, tuple[float, ...]]

    @property
    def ours(self) -> str:
        return next(iter(self.seconds))

    def median_s(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def spread(self, name: str) -> float:
        """Half of the distance between the quartiles, as a share of the median: 0.02 is "plus or minus 2 %"."""
        low, high = np.percentile(self.seconds[name], [25, 75])
        return float((high - low) / 2 / self.median_s(name))

    def ratio(self, name: str, over: str) -> float:
        """Return the time of `name` over that of `over`: the median of the rounds' own ratios."""
        pairs = zip(self.seconds[name], self.seconds[over], strict=True)
        return statistics.median(above / below for above, below in pairs)

    def speedup(self, peer: str) -> float:
        """Return how many times as fast as `peer` ours is."""
        return self.ratio(peer, self.ours)

    def over(self, floor: str) -> float:
        """Return how many times the time of `floor` ours takes."""
        return self.ratio(self.ours, floor)


def race(
    actions: Mapping[str, Action], *, rounds: int = ROUNDS, round_s: float = ROUND_S, warm_up: bool = True
) -> Race:
    """Warm every action up, then time them in turns, in a new order each round.

    An action is called in a round until about `round_s` have passed: once, where that is 0.
    """
    calls: dict[str, int] = {}
    for name, action in actions.items():
        if warm_up:
            action()  # imports, first touches of memory, caches
        calls[name] = max(1, round(round_s / max(_time(action, 1), 1e-9))) if round_s else 1
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        for name in map(str, rng.permutation(list(actions))):
            seconds[name].append(_time(actions[name], calls[name]))
    return Race({name: tuple(values) for name, values in seconds.items()})


@contextmanager
def silent() -> Iterator[None]:
    """Keep what a job says, progress bars too, out of the tables."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _time(action: Action, calls: int) -> float:
    """Return the seconds of a call; what others left to be collected is not on its account."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(calls):
        action()
    return (time.perf_counter() - start) / calls


class Report:
    """Where a bench's figures go: a table on the terminal, JSON lines in `file`.

    `folder` is the bench's to fill; `held` says whether all bars have held so far.
    """

    def __init__(self, bench: str, *, quick: bool, folder: Path, file: TextIO) -> None:
        self.quick, self.folder, self.held = quick, folder, True
        self._bench, self._file = bench, file
        self._write("machine", **machine.describe(), quick=quick)

    def race(
        self,
        case: str,
        actions: Mapping[str, Action],
        *,
        work: float,
        unit: str,
        rounds: int = ROUNDS,
        round_s: float = ROUND_S,
        warm_up: bool = True,
    ) -> Race:
        """Race `actions` (ours first), each call of which does `work` units, and show the table."""
        if self.quick:
            rounds, round_s = min(rounds, QUICK_ROUNDS), min(round_s, QUICK_ROUND_S)
        result = race(actions, rounds=rounds, round_s=round_s, warm_up=warm_up)
        floors = [name for name in actions if name.startswith(FLOOR)]
        width = max(map(len, actions))
        print(f"\n{self._bench}: {case}")
        print(f"  {'':{width}} {'median':>11} {'':6} {unit + '/s':>16} {'x our time':>11}" + "  x floor" * bool(floors))
        rows = {}
        for name in actions:
            row = {
                "median_s": result.median_s(name),
                "spread": result.spread(name),
                "rate": work / result.median_s(name),
                "over_ours": result.ratio(name, result.ours),
            } | {f"over_{floor}": result.ratio(name, floor) for floor in floors}
            rows[name] = row
            print(
                f"  {name:{width}} {_seconds(row['median_s'])} ±{row['spread']:4.0%} {row['rate']:16,.5g} "
                f"{row['over_ours']:11.2f}" + "".join(f" {row[f'over_{floor}']:8.2f}" for floor in floors),
                flush=True,
            )
        self._write("race", case=case, unit=unit, work=work, rounds=rounds, threads=machine.threads(), contenders=rows)
        return result

    def figures(self, case: str, **figures: Any) -> None:
        """Note what was found beside the races."""
        print(f"  {case}: " + ", ".join(f"{name} {_plain(value)}" for name, value in figures.items()), flush=True)
        self._write("figures", case=case, figures=figures)

    def bar(self, what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """Judge `value` by its bar."""
        holds = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        self.held &= holds
        row = {"what": what, "value": value, "at_least": at_least, "at_most": at_most, "holds": holds}
        print("  " + bar_line(row), flush=True)
        self._write("bar", **row)

    def _write(self, kind: str, **values: Any) -> None:
        self._file.write(json.dumps(rounded({"bench": self._bench, "kind": kind} | values)) + "\n")


def bar_line(row: Mapping[str, Any]) -> str:
    """Return a bar's one line: does it hold, what is it, what was measured."""
    limits = {"at least": row["at_least"], "at most": row["at_most"]}
    wanted = " and ".join(f"{word} {_plain(limit)}" for word, limit in limits.items() if limit is not None)
    return f"{'holds' if row['holds'] else 'FAILS'}: {row['what']}: {_plain(row['value'])} (bar: {wanted})"


def rounded(value: Any) -> Any:
    """Return plain values with the four digits that count: more are noise."""
    if isinstance(value, Mapping):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _plain(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


def _seconds(seconds: float) -> str:
    unit, scale = next((pair for pair in (("s ", 1.0), ("ms", 1e-3)) if seconds >= pair[1]), ("us", 1e-6))
    return f"{seconds / scale:8.3f} {unit}"
