"""plan's bill is arithmetic on rates, and rates are what runs of two sizes say."""

import json
from pathlib import Path

import pytest

from audio_tokens.jobs import cli
from audio_tokens.jobs.bill.bill import Terms, bill
from audio_tokens.jobs.bill.calibrate import Measured, rates_of
from audio_tokens.jobs.bill.stage_rates import Rates, StageRates
from audio_tokens.jobs.bill.work import STAGES, Work, of_recipe

RECIPE = {"clusters": [500], "positions_s": 20.0, "budget_vectors": 1_000_000}


def work(clips: int, budget: int = 0) -> Work:
    return Work(clips=clips, clip_s=10.0, positions_s=20.0, budget=budget, epochs=2)


def some_rates() -> Rates:
    def rates(stage: str) -> StageRates:
        kinds = work(1).units(stage)
        return StageRates(
            fixed_s=3.0,
            core_s=dict.fromkeys(kinds, 1e-4),
            fixed_gb=0.5,
            gb=1e-7,
            written_bytes=dict.fromkeys(kinds, 2.0),
        )

    return Rates(machine="a machine", recipe=RECIPE, stages={stage: rates(stage) for stage in STAGES})


@pytest.mark.parametrize("stage", STAGES)
def test_rates_are_found_again_in_runs_that_follow_them(stage: str) -> None:
    runs = []
    for each in (work(500), work(2000), work(2000, budget=100_000)):
        core_s = dict(zip(each.units(stage), (3e-5, 7e-6), strict=False))
        seconds = 4.0 + sum(core_s[kind] * count for kind, count in each.units(stage).items())
        written = sum(2.0 * count for count in each.units(stage).values())
        runs.append(Measured(each, seconds, 0.3 + 1e-6 * each.clips, round(written)))
    found = rates_of(stage, runs)
    assert found.fixed_s == pytest.approx(4.0)
    assert list(found.core_s.values()) == pytest.approx(list(core_s.values()))
    assert list(found.written_bytes.values()) == pytest.approx([2.0] * len(core_s))
    assert (found.fixed_gb, found.gb) == pytest.approx((0.3, 1e-6))


def test_start_up_is_told_from_runs_that_had_none() -> None:
    def run(clips: int, began: bool, beside_s: float) -> Measured:
        units = work(clips).units("evaluate")["position"]
        return Measured(work(clips), 0.1 + 1e-7 * units + 3.0 * began + beside_s, 0.3, 0, began)

    # one process took half a second longer to begin than the other, twelve times what the work itself takes
    again = [run(clips, False, 0.0) for clips in (500, 2000) for _ in range(3)]
    runs = [run(500, True, 0.5), run(2000, True, 0.0), *again]
    found = rates_of("evaluate", runs)
    assert found.core_s["position"] == pytest.approx(1e-7)
    assert found.fixed_s == pytest.approx(3.35)


def test_a_cost_is_never_negative() -> None:
    runs = [Measured(work(500), 5.0, 0.4, 10), Measured(work(2000), 4.0, 0.3, 10)]
    found = rates_of("encode", runs)
    assert found.fixed_s == pytest.approx(4.5, abs=0.5)
    assert min(found.core_s["position"], found.gb, found.written_bytes["position"]) >= 0


def test_the_bill_is_what_is_counted_by_hand() -> None:
    asked = of_recipe(RECIPE, clips=36_000, clip_s=10.0, epochs=5)
    terms = Terms(cores=4, disk_mb_s=1.0, price_core_h=2.0)
    items = {item.stage: item for item in bill(some_rates(), asked, terms, sound_bytes_s=10.0)}
    assert list(items) == list(STAGES)
    build = items["build"]  # 360,000 s of sound: 36 s of a core, 0.72 MB written, 3.6 MB read
    assert build.core_hours == pytest.approx(39 / 3600)
    assert build.hours == pytest.approx((3 + 36 / 4) / 3600)
    assert (build.read_gb, build.written_gb) == pytest.approx((3.6e-3, 0.72e-3))
    assert (build.binds, build.most_cores) == ("cores", 8)  # 36 s of cores against 4.32 s of disk
    assert build.price == pytest.approx(2 * 39 / 3600)
    assert build.memory_gb == pytest.approx(0.5 + 36_000 * 1e-7)
    cluster = items["cluster"]  # a million vectors fitted to, 7.2 million counted
    assert cluster.core_hours == pytest.approx((3 + 1e-4 * 8.2e6) / 3600)
    trained = items["train token-lstm"]  # 7.2 million positions, five times over
    assert trained.core_hours == pytest.approx((3 + 1e-4 * 36e6) / 3600)
    slow = Terms(cores=4, disk_mb_s=0.1, price_core_h=0.0)
    build = bill(some_rates(), asked, slow, sound_bytes_s=10.0)[0]
    assert (build.binds, build.hours) == ("disk", pytest.approx(43.2 / 3600))


def test_the_command_prints_a_line_a_stage_and_the_digits_for_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some_rates().save(tmp_path / "mine.json")
    assert Rates.load(tmp_path / "mine.json") == some_rates()
    words = ["plan", "--rates", f"{tmp_path}/mine.json", "--clips", "1000", "--cores", "2"]
    assert cli.main([*words, "--price_core_h", "3"]) == 0
    first, heads, *lines = capsys.readouterr().out.splitlines()
    assert first == "1,000 clips of 10 s on 2 cores like those of a machine"
    assert heads.split()[-1] == "price"
    assert [line.split("  ")[0] for line in lines] == [*STAGES, "all"]
    assert cli.main([*words, "--json", "true"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in told["stages"]] == list(STAGES)
    before = told["stages"][0]["core_hours"]
    assert cli.main([*words, "--json", "true", "--build_clips_s", "10"]) == 0
    after = json.loads(capsys.readouterr().out)["stages"][0]["core_hours"]
    assert (before, after) == pytest.approx(((3 + 1) / 3600, (3 + 100) / 3600))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--rates AT/none.json", "there are no rates in"),
        ("--rates AT/damaged.json", "holds no rates"),
        ("--calibrate 1000", "rates"),
        ("--calibrate 10 --rates AT/new.json", "there is little but start-up to see"),
        ("--rates AT/none.json --clips 0", "clips is 0"),
    ],
)
def test_mistakes_are_one_line(words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "damaged.json").write_text('{"machine": "m", "recipe": {}, "stages": {"build": {"fixed_s": 1}}}')
    assert cli.main(["plan", *words.replace("AT", str(tmp_path)).split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.long
@pytest.mark.timeout(900)
def test_rates_of_this_machine_tell_a_size_between_those_measured(tmp_path: Path) -> None:
    """Every stage runs; what they took is within the bill's own words, since no time is a law."""
    words = ["plan", "--calibrate", "400", "--clip_s", "1", "--rates", f"{tmp_path}/here.json", "--clips", "200"]
    assert cli.main(words) == 0
    found = Rates.load(tmp_path / "here.json")
    assert list(found.stages) == list(STAGES)
    assert all(0 < stage.fixed_s + sum(stage.core_s.values()) < 600 for stage in found.stages.values())
    assert found.stages["encode"].written_bytes["position"] == pytest.approx(2, rel=0.5)  # a uint16 a position
