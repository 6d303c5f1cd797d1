"""Growth is told by three sizes, whatever start-up costs; and what falls out of its bar is told."""

import io
import json
from pathlib import Path

import pytest

from benchmarks.harness import Report
from benchmarks.scale import growth
from benchmarks.scale.growth import ALL_VECTORS, PLANNED, STAGES, Grown

CLIPS = (1_000, 10_000, 100_000)


def grown(power: float, start_up_s: float = 3.0, bytes_a_clip: int = 100) -> Grown:
    seconds = tuple(start_up_s + 2e-4 * clips**power for clips in CLIPS)
    held = tuple(10**8 + bytes_a_clip * clips for clips in CLIPS)
    return Grown(clips=CLIPS, cpu_s=seconds, elapsed_s=seconds, peak_bytes=held)


def bars_of(found: dict[str, Grown], tmp_path: Path) -> dict[str, bool]:
    file = io.StringIO()
    growth.judge(Report("growth", quick=False, folder=tmp_path, file=file), found)
    rows = map(json.loads, file.getvalue().splitlines())
    return {row["what"]: row["holds"] for row in rows if row["kind"] == "bar"}


@pytest.mark.parametrize("power", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("start_up_s", [0.0, 50.0])
def test_the_exponent_is_found_whatever_start_up_takes(power: float, start_up_s: float) -> None:
    found = grown(power, start_up_s)
    assert found.exponent == pytest.approx(power)
    assert found.start_up_s == pytest.approx(start_up_s)
    assert found.bytes_a_clip == pytest.approx(100)


def test_time_that_does_not_grow_has_no_exponent_and_its_bar_falls(tmp_path: Path) -> None:
    flat = Grown(clips=CLIPS, cpu_s=(3.0, 3.0, 3.0), elapsed_s=(3.0, 3.0, 3.0), peak_bytes=(1, 1, 1))
    assert not bars_of({"encode": flat}, tmp_path)["encode: exponent of time"]


def test_what_grows_too_fast_falls(tmp_path: Path) -> None:
    fine = bars_of({stage: grown(1.0) for stage in STAGES}, tmp_path)
    assert len(fine) == 5 + 3
    assert set(fine.values()) == {True}
    slow = bars_of(
        {"build": grown(1.06, bytes_a_clip=120), "cluster": grown(0.9), "train token-linear": grown(0.9)}, tmp_path
    )
    assert slow == {
        "build: exponent of time": False,
        "build: peak memory, largest over smallest": False,
        "cluster: exponent of time": True,
        "cluster: peak memory, largest over smallest": True,
        "train token-linear: exponent of time": False,
    }


def test_plan_is_held_against_the_largest_set(tmp_path: Path) -> None:
    file = io.StringIO()
    report = Report("growth", quick=False, folder=tmp_path, file=file)
    plan_s = {name: 23.0 * (1.2 if stage == "encode" else 0.9) for stage, name in PLANNED.items()}
    ratios = growth.compare(report, {stage: grown(1.0) for stage in STAGES}, plan_s)
    assert ratios == pytest.approx(dict.fromkeys(PLANNED, 0.9) | {"encode": 1.2})
    assert not report.held
    page = growth.table({stage: grown(1.0) for stage in STAGES}, ratios)
    assert f"| {ALL_VECTORS} | 3.20 | 5.00 | 23.00 | 3.00 | 1.000 | 100 | 101 | 110 | 100 | 0.90 |" in page


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_stage_is_run_at_every_size(tmp_path: Path) -> None:
    assert growth.main(["--quick", "--results", str(tmp_path)]) == 0
    rows = list(map(json.loads, (tmp_path / "growth.jsonl").read_text().splitlines()))
    cases = {row["case"] for row in rows if row["kind"] == "figures"}
    assert cases == {*STAGES, *(f"{stage}, {clips} clips" for stage in STAGES for clips in (100, 300, 900))}
    assert {row["kind"] for row in rows} == {"machine", "figures"}
    assert "| build | " in (tmp_path / "growth.md").read_text()
    assert b"<svg" in (tmp_path / "growth.svg").read_bytes()
