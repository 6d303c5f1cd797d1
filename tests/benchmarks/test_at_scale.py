"""The measurements at size: every row does its work on what the generators make, and bars can fall."""

import json
from pathlib import Path

import pytest

from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tokens.token_store import TokenStore
from benchmarks import at_scale
from benchmarks.scale import rows
from benchmarks.scale.rows import ROWS

CLIPS = 600


def test_every_row_does_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "REPLICATES", 20)
    said = {name: ROWS[name](tmp_path, CLIPS)() for name in ROWS}
    store, dataset = TokenStore.open(tmp_path / "tokens.zarr"), Dataset.open(tmp_path / "shards")
    assert dataset.clips == CLIPS
    assert sum(len(store.group(place)) for place in store.places) == 674
    assert said["open tokens"] == "600 training clips"
    assert said["open shards"] == "200 training clips"
    assert said["order of an epoch, mel"] == "200 clips, in windows"
    assert said["1,000 batches of 64, mel"] == "192 clips"
    assert said["bootstrap"] == "20 samples"


@pytest.mark.long
def test_rows_run_apart_and_a_bar_that_falls_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["making the tokens (encode's commit)", "open tokens", "--clips", str(CLIPS), "--results", str(tmp_path)]
    assert at_scale.main(words) == 0
    written = [json.loads(line) for line in (tmp_path / "at-scale.jsonl").read_text().splitlines()]
    bars = [row for row in written if row["kind"] == "bar"]
    assert [bar["holds"] for bar in bars] == [True, True]
    assert bars[1]["value"] > 1e8
    assert "| open tokens | " in (tmp_path / "at-scale.md").read_text()
    monkeypatch.setitem(at_scale.BARS, "open tokens", at_scale.Bar(3, 1e6))
    assert at_scale.main(words) == 1
    assert "FAILS: open tokens: most resident bytes" in capsys.readouterr().out


def test_an_unknown_row_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        at_scale.main(["open token"])
    assert "did you mean open tokens?" in capsys.readouterr().err
