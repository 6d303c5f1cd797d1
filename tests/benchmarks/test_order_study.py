"""The study of order: its control takes order away and nothing else; its intervals are those of speakers."""

from itertools import pairwise

import numpy as np
import pytest
import zarr

from audio_tokens.errors import UserError
from audio_tokens.shards.integrity import file_complaints, files_below, read_integrity, seal
from audio_tokens.shards.tokens.token_store import TokenStore
from benchmarks.studies import discreteness
from benchmarks.studies.order import by_speaker, interval, positions_permuted, table
from benchmarks.studies.order_trials import STUDIES
from benchmarks.studies.permuted_tokens import permute
from tests.shards.tokens.test_token_store import stored


def test_the_control_takes_a_clips_order_away_and_nothing_else():
    rng = np.random.default_rng(0)
    lengths = np.array([40, 1, 25])
    ids_PQ = rng.integers(0, 9, size=(lengths.sum(), 3))
    mixed_PQ = positions_permuted(ids_PQ, lengths, rng)
    for before, after in zip(
        np.split(ids_PQ, np.cumsum(lengths)[:-1]), np.split(mixed_PQ, np.cumsum(lengths)[:-1]), strict=True
    ):
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))
    assert (mixed_PQ != ids_PQ).any()


def test_permuted_tokens_are_a_store_with_the_same_positions_in_another_order(tmp_path):
    stored(tmp_path, top=2)
    tokens, out = tmp_path / "tokens.zarr", tmp_path / "permuted.zarr"
    zarr.open_group(tokens, mode="r+").attrs["fingerprint"] = "of the true ones"
    seal(tokens, "tokens", {}, files_below(tokens))
    permute(tokens, out)
    assert [wrong for _, wrong in file_complaints(out, read_integrity(out)) if wrong] == []
    assert len({TokenStore.open(store).attributes["fingerprint"] for store in (tokens, out)}) == 2, "another data set"
    with pytest.raises(UserError, match="is there already"):
        permute(tokens, out)
    before, after = (TokenStore.open(store).group("train") for store in (tokens, out))
    columns = [
        np.concatenate([group.ids_PQ, *(each.reshape(len(each), -1) for each in beside)], axis=1)
        for group in (before, after)
        for beside in [(group.top_ids_PQM, group.top_cosines_PQM)]
    ]
    assert (columns[0] != columns[1]).any()
    for first, last in pairwise(before.offsets):
        assert sorted(map(tuple, columns[0][first:last])) == sorted(map(tuple, columns[1][first:last]))
    assert after.keys == before.keys
    assert np.array_equal(after.label_ids, before.label_ids)


def test_an_interval_is_wide_where_speakers_differ_and_not_where_only_clips_do():
    right_C = np.tile([True, False], 60)
    alike = by_speaker(right_C, ["a"] * 40 + ["b"] * 40 + ["c"] * 40)
    assert alike == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert interval(list(alike.values())) == (0.5, 0.5)
    assert interval([0.2, 0.5, 0.8]) == pytest.approx((0.2, 0.8))  # one draw in 27 takes the same speaker thrice


def test_the_table_pairs_runs_by_speaker():
    row = {"seed": 0, "place": "val", "mAP": 0.5, "cpu_s": 1, "parameters": 1000}
    rows = [
        row | {"name": "bag", "accuracy": 0.5, "speakers": {"a": 0.4, "b": 0.6}},
        row | {"name": "lstm", "accuracy": 0.6, "speakers": {"a": 0.5, "b": 0.7}},
    ]
    text = table(rows, "bag")
    assert "| lstm | 0 | val | 60.0 [50.0, 70.0] | 50.0 | +10.0 [+10.0, +10.0] | 1 | 1,000 |" in text
    assert "| bag | 0 | val | 50.0 [40.0, 60.0] | 50.0 |  | 1 | 1,000 |" in text


def test_the_price_of_tokens_is_what_their_readers_lack_against_mel():
    names = {name for both in discreteness.READERS.values() for trials in both for name in trials.values()}
    rows = {name: {"a": 0.5, "b": 0.6} for name in names} | {discreteness.MEL: {"a": 0.7, "b": 0.9}}
    rows["c-all-soft"] = {"a": 0.7, "b": 0.9}
    found = discreteness.prices(rows)
    assert found["tokens, token-lstm"][0][200] == pytest.approx((25, 20, 30))
    assert found["soft tokens, token-bag"][1][6] == (0, 0, 0)
    assert "| soft tokens, token-bag | 25.0 [20.0, 30.0] |" in discreteness.table(found)
    assert discreteness.plot(found, 0.8) == discreteness.plot(found, 0.8)


def test_the_picture_is_of_trials_that_there_are():
    names = {name for both in discreteness.READERS.values() for trials in both for name in trials.values()}
    assert names | {discreteness.MEL} <= STUDIES.keys()
