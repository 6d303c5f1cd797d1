"""The vocabulary is what Google publishes, and the published lists parse to the published counts."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from audio_tokens.jobs.audioset_labels import AudiosetLabels, audioset_labels
from audio_tokens.seeds import HASHES, hashed
from audio_tokens.shards.labels import audioset, choose_labels
from audio_tokens.shards.sources.audioset.places import Choice, part_of
from audio_tokens.shards.sources.audioset.segments import SegmentTable, read_segments
from audio_tokens.shards.subset import Subset, parse_subset


def test_the_shipped_file_is_made_from_the_published_ones(data_dir: Path, tmp_path: Path) -> None:
    audioset_labels(AudiosetLabels(published=str(data_dir / "audioset"), out=str(tmp_path / "made.json")))
    shipped = Path(__file__).parents[2] / "shards" / "audioset_labels.json"
    assert (tmp_path / "made.json").read_bytes() == shipped.read_bytes()


def test_there_are_527_classes_and_632_nodes_above_them() -> None:
    vocabulary = audioset()
    assert len(set(vocabulary.mids)) == len(set(vocabulary.names)) == 527
    assert len(vocabulary.ontology) == 632
    assert all(vocabulary.ontology[mid][0] == name for mid, name in vocabulary.name_of_mid.items())
    assert vocabulary.names[0] == "Speech"


PUBLISHED = {"balanced_train_segments.csv": (22_160, 52_882), "eval_segments.csv": (20_371, 51_804)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_lists_parse_to_the_published_counts(name: str, data_dir: Path) -> None:
    segments = list(read_segments(str(data_dir / "audioset" / name)))
    labels = Counter(mid for segment in segments for mid in segment.mids)
    assert (len(segments), labels.total()) == PUBLISHED[name]
    assert set(labels) == set(audioset().mids)
    assert {segment.part for segment in segments} == {part_of(name)}
    assert max(segment.seconds for segment in segments) == pytest.approx(10.0)


def test_the_table_finds_what_the_lists_hold(data_dir: Path) -> None:
    urls = tuple(str(data_dir / "audioset" / name) for name in PUBLISHED)
    table = SegmentTable(urls)
    segments = [segment for url in urls for segment in read_segments(url)]
    assert len(table) == len(segments) == 42_531
    for segment in segments[::97]:
        found = table.find(segment.video_id)
        assert found is not None
        assert found._replace(seconds=round(found.seconds, 3)) == segment._replace(seconds=round(segment.seconds, 3))
    assert table.find("not a video") is None
    assert table.find("zzzzzzzzzzzzz") is None


def test_classes_by_name_mid_subtree_and_frequency() -> None:
    labels = audioset().names
    counts = [1000 - number for number in range(527)]
    assert choose_labels("Dog", labels, counts) == (labels.index("Dog"),)
    assert choose_labels("/m/0bt9lr; Dog", labels, counts) == (labels.index("Dog"),)
    assert choose_labels("top:3", labels, counts) == (0, 1, 2)
    assert choose_labels("top:3", labels, counts[::-1]) == (524, 525, 526)
    dogs = {labels[number] for number in choose_labels("below:Dog", labels, counts)}
    assert {"Dog", "Bark", "Howl"} <= dogs <= {labels[n] for n in choose_labels("below:Animal", labels, counts)}
    assert choose_labels("top:1;Dog", labels, counts) == (0, labels.index("Dog"))
    for wanted, words in {
        "Dogg": "did you mean 'Dog'?",
        "/m/none": "no label '/m/none'",
        "below:Dogg": "did you mean 'Dog'?",
        "top:0": "needs a number above 0",
        "": "no label ''",
    }.items():
        with pytest.raises(UserError) as caught:
            choose_labels(wanted, labels, counts)
        assert words in str(caught.value)


def test_a_subtree_means_nothing_to_other_labels() -> None:
    with pytest.raises(UserError, match="names no label of this data set"):
        choose_labels("below:Dog", ("cat", "cow"), (1, 1))


@given(st.lists(st.text(min_size=1), unique=True, max_size=200), st.integers(0, 99), st.floats(0, 0.99))
def test_splits_are_a_function_of_the_id_alone(video_ids: list[str], seed: int, val_share: float) -> None:
    choice = Choice(val_share=val_share, seed=seed)
    places = {video_id: choice.place("bal_train", video_id) for video_id in video_ids}
    assert places == {video_id: choice.place("unbal_train", video_id) for video_id in reversed(video_ids)}
    assert set(places.values()) <= {"train", "val"}
    assert {choice.place("eval", video_id) for video_id in video_ids} <= {"test"}


def test_shares_are_kept_and_subsets_lie_within_one_another() -> None:
    ids = [f"video {number}" for number in range(20_000)]
    shares = {}
    for ratio in (0.05, 0.1, 0.5):
        choice = Choice(everything=False, below=round(ratio * HASHES), val_share=0.2)
        taken = {video_id: choice.place("unbal_train", video_id) for video_id in ids}
        shares[ratio] = {video_id for video_id, place in taken.items() if place}
        assert len(shares[ratio]) / len(ids) == pytest.approx(ratio, abs=0.01)
        validating = sum(place == "val" for place in taken.values())
        assert validating / len(shares[ratio]) == pytest.approx(0.2, abs=0.03)
    assert shares[0.05] < shares[0.1] < shares[0.5]
    union = Choice(everything=False, balanced=True, below=round(0.05 * HASHES))
    assert all(union.place("bal_train", video_id) for video_id in ids)
    assert {video_id for video_id in ids if union.place("unbal_train", video_id)} == shares[0.05]
    assert hashed(0, "a", "x") != hashed(0, "b", "x") != hashed(1, "b", "x")


def test_subsets_are_read() -> None:
    assert parse_subset("all") == Subset((), (), ("all",))
    assert parse_subset("balanced+0.1+200k+20000") == Subset((0.1,), (200_000, 20_000), ("balanced",))
    for wrong in ("1.5", "0", "-3", "", "balanced+", "0k"):
        with pytest.raises(UserError, match="a part is a ratio like"):
            parse_subset(wrong)


@given(ids=st.sets(st.text(min_size=1), max_size=60), size=st.integers(1, 70), seed=st.integers(0, 99))
def test_a_number_takes_so_many_ids_whatever_their_order(ids: set[str], size: int, seed: int) -> None:
    subset = parse_subset(str(size))
    below = subset.threshold(sorted(ids), seed)
    assert below == subset.threshold(sorted(ids, reverse=True), seed)
    assert sum(hashed(seed, "subset", name) < below for name in ids) == min(size, len(ids))
