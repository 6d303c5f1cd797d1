"""The harness: fair turns, ratios within a round, bars that can fail, JSON lines that betray no machine."""

import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as benches
from benchmarks.harness import FLOOR, Race, Report, race

ROOT = Path(__file__).parents[2]


def report_to(file: io.StringIO, folder: Path) -> Report:
    return Report("toy", quick=True, folder=folder, file=file)


def test_contenders_take_turns_after_a_warm_up() -> None:
    turns: list[str] = []
    race({name: lambda name=name: turns.append(name) for name in "abc"}, rounds=4, round_s=0)  # type: ignore[misc]
    rounds = [set(turns[first : first + 3]) for first in range(0, len(turns), 3)]
    assert rounds == [set("abc")] * 5  # one to warm up


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that becomes ten times slower half-way changes no ratio, though it moves every median."""
    drift = (1.0, 1.0, 10.0, 10.0, 10.0)
    result = Race({"ours": drift, "peer": tuple(2 * s for s in drift), FLOOR + "x": tuple(s / 2 for s in drift)})
    assert result.speedup("peer") == 2
    assert result.over(FLOOR + "x") == 2
    assert result.median_s("ours") == 10


def test_a_race_measures() -> None:
    """Of some rounds the quickest tells the time, however crowded the machine."""
    result = race({"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.01)}, rounds=5, round_s=0)
    quickest = {name: min(seconds) for name, seconds in result.seconds.items()}
    assert 0.001 <= quickest["short"] < 0.01 <= quickest["long"] < 0.1


def test_short_actions_are_called_many_times_a_round() -> None:
    calls = [0]

    def action() -> None:
        calls[0] += 1

    race({"only": action}, rounds=1, round_s=0.005)
    assert calls[0] > 20


@pytest.mark.parametrize(
    ("value", "limits", "holds"),
    [
        (1.5, {"at_least": 1.5}, True),
        (1.49, {"at_least": 1.5}, False),
        (1.1, {"at_most": 1.1}, True),
        (1.11, {"at_most": 1.1}, False),
        (float("nan"), {"at_least": 0.0}, False),
    ],
)
def test_a_bar_holds_or_does_not(value: float, limits: dict, holds: bool, tmp_path: Path) -> None:
    file = io.StringIO()
    report_to(file, tmp_path).bar("something", value, **limits)
    assert json.loads(file.getvalue().splitlines()[-1])["holds"] is holds


def test_the_lines_tell_the_machine_and_no_place_on_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = io.StringIO()
    report = report_to(file, tmp_path)
    report.race("a case", {"ours": lambda: None, FLOOR + "nothing": lambda: None}, work=1, unit="calls")
    report.figures("besides", share=0.123456789)
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["kind"] for line in lines] == ["machine", "race", "figures"]
    assert lines[0]["machine"]["cores"] >= 1
    assert "numpy" in lines[0]["versions"]
    assert lines[2]["figures"]["share"] == 0.1235
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', file.getvalue())
    assert [word for word in words if word.startswith("/") or str(Path.home()) in word or str(ROOT) in word] == []
    assert "x floor" in capsys.readouterr().out


def test_every_bench_says_what_it_expects() -> None:
    assert len(benches.BENCHES) >= 5
    assert [name for name in benches.BENCHES if "Expected before measuring" not in benches.about(name)] == []


def test_list_names_every_bench(capsys: pytest.CaptureFixture) -> None:
    assert benches.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(benches.BENCHES)


def test_an_unknown_bench_gets_the_nearest_name(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        benches.main(["nearst"])
    assert "did you mean nearest?" in capsys.readouterr().err


TOY = '''
"""A toy."""
def bench(report):
    {body}
'''


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("report.bar('enough', 2.0, at_least=1)", 0, "holds: enough"),
        ("report.bar('enough', 0.5, at_least=1)", 1, "FAILS: enough"),
        ("report.bar('enough', 2.0, at_least=1); raise RuntimeError('boom')", 1, "FAILS: the bench did not end"),
    ],
    ids=["holds", "fails", "crashes"],
)
def test_the_exit_code_says_whether_all_bars_hold(body: str, code: int, said: str, tmp_path: Path) -> None:
    """A bench that crashed leaves no figures; those of its last whole run stay."""
    (tmp_path / "toy_bench.py").write_text(TOY.format(body=body))
    results = tmp_path / "results"
    results.mkdir()
    (results / "toy.jsonl").write_text("the last run's\n")
    main = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from benchmarks import __main__ as m\n"
        "m.BENCHES = {'toy': m.Entry('toy_bench')}\n"
        f"m.sys.executable = {str(tmp_path / 'again')!r}\n"
        "sys.exit(m.main(sys.argv[1:]))\n"
    )
    again = tmp_path / "again"  # the child process of the bench, with the same toy in its list
    (tmp_path / "main.py").write_text(main)
    again.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {tmp_path / "main.py"} "$@"\n')
    again.chmod(0o755)
    words = [sys.executable, str(tmp_path / "main.py"), "toy", "--results", str(results)]
    done = subprocess.run(words, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout
    kept = (results / "toy.jsonl").read_text()
    assert (kept == "the last run's\n") == ("raise" in body)
