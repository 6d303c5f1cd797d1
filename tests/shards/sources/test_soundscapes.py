"""Soundscapes: made up from (seed, index) alone, split disjointly, long-tailed, and unordered where they must be.

Axes: S samples.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import Source, open_source
from audio_tokens.shards.sources.soundscapes.soundscapes import (
    FULL_SCALE,
    LABELS,
    ORDER_OF_HUNDRED,
    PLACES,
    Soundscapes,
)
from audio_tokens.shards.sources.soundscapes.synthesis import ORDER_LOW_HZ, ORDER_SPAN, ORDER_VOICES, RATE_HZ, VOICES

PAIRS = [("rising-chirp", "falling-chirp"), ("low-high", "high-low")]


def clips_of(source: Source) -> list[Clip]:
    clips = [clip for task in source.tasks() for clip in source.clips(task)]
    assert all(isinstance(clip, Clip) for clip in clips)
    return clips


def pitch_hz(wave_S: np.ndarray) -> float:
    """The strongest frequency of a stretch of sound."""
    spectrum_W = np.abs(np.fft.rfft(wave_S * np.hanning(len(wave_S)), 1 << 17))
    return float(np.argmax(spectrum_W) * RATE_HZ / (1 << 17))


@pytest.mark.parametrize("clips", [1, 9, 10, 137, 2_600])
def test_tasks_cover_every_clip_once_and_keep_to_one_split(clips: int) -> None:
    source = Soundscapes(clips=clips, clip_s=1.0)
    tasks = source.tasks()
    assert sum(task.clips or 0 for task in tasks) == clips
    assert len({str(task.work) for task in tasks}) == len(tasks)
    keys = []
    for task in tasks if clips < 1_000 else tasks[-4:]:
        found = list(source.clips(task))
        assert len(found) == task.clips
        assert {clip.place for clip in found} == {task.work[0]}
        keys += [clip.key for clip in found]
    assert len(set(keys)) == len(keys)
    if clips < 1_000:
        assert set(keys) == {source.clip(index).key for index in range(clips)}


def test_eight_of_ten_clips_train_and_one_each_validates_and_tests() -> None:
    source = Soundscapes(clips=1_000)
    assert Counter(source.place(index) for index in range(1_000)) == {"train": 800, "val": 100, "test": 100}
    by_task = Counter(dict.fromkeys(PLACES, 0))
    for task in source.tasks():
        by_task[task.work[0]] += task.clips
    assert by_task == {"train": 800, "val": 100, "test": 100}


@settings(max_examples=10, deadline=None)
@given(index=st.integers(0, 10**9), seed=st.integers(0, 2**31), clip_s=st.sampled_from([1.0, 1.5, 4.0]))
def test_a_clip_is_a_function_of_seed_and_index_alone(index: int, seed: int, clip_s: float) -> None:
    first = Soundscapes(clips=1, clip_s=clip_s, seed=seed).clip(index)
    other = Soundscapes(clips=10**10, clip_s=clip_s, seed=seed)
    other.clip(index + 1)
    again = other.clip(index)
    assert (first.key, first.labels, first.place) == (again.key, again.labels, again.place)
    np.testing.assert_array_equal(first.wave_S, again.wave_S)
    unlike = Soundscapes(clips=1, clip_s=clip_s, seed=seed + 1).clip(index)
    assert unlike.key != first.key
    assert not np.array_equal(unlike.wave_S, first.wave_S)


def test_every_clip_is_finite_below_full_scale_and_as_long_as_promised() -> None:
    for clip_s in (1.0, 4.0, 10.0):
        source = Soundscapes(clips=60, clip_s=clip_s)
        for clip in clips_of(source):
            assert clip.wave_S is not None
            assert clip.wave_S.shape == (round(clip_s * RATE_HZ),)
            assert clip.wave_S.dtype == np.float32
            assert clip.rate_hz == RATE_HZ
            assert np.isfinite(clip.wave_S).all()
            assert 0.001 < np.abs(clip.wave_S).max() <= FULL_SCALE + 1e-6


def test_frequencies_have_a_long_tail_and_order_classes_are_common_and_balanced() -> None:
    """Over 5,000 clips; labels are drawn before any sound is, so this costs no synthesis."""
    source, counts, events = Soundscapes(clips=5_000), Counter(), Counter()
    by_place: dict[str, Counter] = {place: Counter() for place in PLACES}
    for index in range(5_000):
        labels = source.labels_of(index)
        assert len(set(labels)) == len(labels)
        assert len(set(labels) & set(ORDER_VOICES)) <= 1
        counts.update(labels)
        by_place[source.place(index)].update(labels)
        events[len(labels)] += 1
    assert set(events) == {1, 2, 3}
    assert set(counts) == set(LABELS) == set(source.labels)
    assert len(LABELS) == 16
    for place, total in (("train", 4_000), ("val", 500), ("test", 500)):
        for label in ORDER_VOICES:
            assert by_place[place][label] == total * ORDER_OF_HUNDRED // 100 >= total // 10
    tail = [counts[label] / 5_000 for label in VOICES]
    assert 0.2 < max(tail) < 0.35
    assert 0.006 < min(tail) < 0.016
    assert tail[0] > tail[4] > tail[8] > tail[11]


def test_labels_of_a_clip_are_the_labels_it_carries() -> None:
    source = Soundscapes(clips=20, clip_s=1.0)
    assert [source.clip(index).labels for index in range(20)] == [source.labels_of(index) for index in range(20)]


@pytest.mark.parametrize(("forwards", "backwards"), PAIRS)
def test_partners_are_each_others_exact_reversal(forwards: str, backwards: str) -> None:
    for seed in range(20):
        samples = int(np.random.default_rng(seed).uniform(0.7, 1.2) * RATE_HZ)
        one_S = ORDER_VOICES[forwards].play(np.random.default_rng(seed), samples)
        other_S = ORDER_VOICES[backwards].play(np.random.default_rng(seed), samples)
        np.testing.assert_array_equal(one_S[::-1], other_S)
        assert not np.allclose(one_S, other_S)
    assert ORDER_VOICES[forwards][1:] == ORDER_VOICES[backwards][1:]
    assert (ORDER_VOICES[forwards].shortest_s, ORDER_VOICES[forwards].longest_s) == (0.7, 1.2)


@pytest.mark.parametrize(("forwards", "backwards"), PAIRS)
def test_order_events_start_at_300_to_400_hz_and_span_a_fixed_ratio(forwards: str, backwards: str) -> None:
    for seed in range(10):
        wave_S = ORDER_VOICES[forwards].play(np.random.default_rng(seed), RATE_HZ)
        # The middle of 80 ms lies 40 ms from the end: two octaves in 1 s are 6 % off by then.
        low_hz, high_hz = pitch_hz(wave_S[: RATE_HZ // 12]), pitch_hz(wave_S[-RATE_HZ // 12 :])
        assert ORDER_LOW_HZ[0] * 0.97 <= low_hz <= ORDER_LOW_HZ[1] * 1.08
        assert high_hz / low_hz == pytest.approx(ORDER_SPAN, rel=0.15)
        assert (
            pitch_hz(ORDER_VOICES[backwards].play(np.random.default_rng(seed), RATE_HZ)[: RATE_HZ // 12]) > 2 * low_hz
        )


@pytest.mark.parametrize("label", LABELS)
def test_every_voice_is_heard_whatever_its_length(label: str) -> None:
    voice = (ORDER_VOICES | VOICES)[label]
    assert 0 < voice.shortest_s <= voice.longest_s
    for seed, seconds in enumerate((voice.shortest_s, voice.longest_s, 0.7, 1.0)):
        samples = round(seconds * RATE_HZ)
        wave_S = voice.play(np.random.default_rng(seed), samples)
        assert wave_S.shape == (samples,)
        assert wave_S.dtype == np.float32
        assert np.isfinite(wave_S).all()
        assert np.abs(wave_S).max() > 0.05


def test_the_spec_names_clips_seconds_and_seed() -> None:
    plain, full = open_source("soundscapes"), open_source("soundscapes:70,clip_s=4,seed=3")
    assert isinstance(plain, Soundscapes)
    assert isinstance(full, Soundscapes)
    assert plain.clip_s == 10.0
    assert (full.clip_count, full.clip_s, full.seed) == (70, 4.0, 3)
    assert open_source("soundscapes:clip_s=2").clip_s == 2.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("soundscapes:many", "'many' is not a number"),
        ("soundscapes:0", "'0' clips cannot be made"),
        ("soundscapes:2.5", "'2.5' clips cannot be made"),
        ("soundscapes:10,clip_s=0.1", "clip_s=0.1 is not between"),
        ("soundscapes:10,clip_s=nan", "clip_s=nan is not between"),
        ("soundscapes:10,seed=-1", "seed=-1 is not a whole number"),
        ("soundscapes:10,clips=4", "'clips=4' is unknown"),
    ],
)
def test_a_wrong_spec_names_its_value(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        open_source(spec)
