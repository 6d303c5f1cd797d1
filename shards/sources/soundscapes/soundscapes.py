"""`soundscapes[:CLIPS[,clip_s=4][,seed=0]]`: a synthetic stand-in for AudioSet, made up from (seed, index) alone.

S samples. A clip is coloured noise under one to three events of sixteen classes (synthesis.py) at random
times and levels; it has several labels, and their frequencies have a long tail. Half of the clips hold one of the four
order events, whose two pairs differ only in temporal order. Any number of clips exists and none is stored: clip
1,000,000 costs what clip 0 costs, 2.5 ms for 4 s.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from audio_tokens.errors import UserError
from audio_tokens.seeds import generator
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import Task, split_options
from audio_tokens.shards.sources.soundscapes.synthesis import ORDER_VOICES, RATE_HZ, VOICES, coloured_noise

CLIPS = 2_000
CLIP_S = 10.0
LABELS = (*ORDER_VOICES, *VOICES)

# Of every ten clips eight are train, one val and one test.
PLACES = ("train", "val", "test")
PLACE_OF_TEN = ("train",) * 8 + ("val", "test")

TASK_CLIPS = 250
# Of every hundred clips of a split each order class has exactly 13, so that an average precision that cannot tell a
# pair apart is 0.5, whatever the seed. The step spreads them out; it has no factor in common with a hundred.
ORDER_OF_HUNDRED = 13
HUNDRED_STEP = 37
EVENTS = (1, 2, 3)
EVENTS_SHARE = (0.5, 0.38, 0.12)
# Peak of an event, and RMS of the noise, in dB below full scale.
ORDER_DB = (-9.0, -6.0)
EVENT_DB = (-21.0, -12.0)
NOISE_DB = (-60.0, -50.0)
FULL_SCALE = 0.95


class Soundscapes:
    """The source. `tasks` are runs of one split's clips, so that every worker of a small set has work."""

    def __init__(self, *, clips: int = CLIPS, clip_s: float = CLIP_S, seed: int = 0) -> None:
        self.clip_count, self.clip_s, self.seed = clips, clip_s, seed
        weights = np.array([voice.weight for voice in VOICES.values()])
        self._weights = weights / weights.sum()

    @property
    def labels(self) -> tuple[str, ...]:
        return LABELS

    def tasks(self) -> list[Task]:
        """One split a task, in order; together every clip once."""
        tasks = []
        for place in PLACES:
            count = sum(self.place(index) == place for index in range(self.clip_count % 10))
            count += self.clip_count // 10 * PLACE_OF_TEN.count(place)
            for start in range(0, count, TASK_CLIPS):
                stop = min(start + TASK_CLIPS, count)
                work = [place, start, stop, self.clip_s, self.seed]
                tasks.append(Task(name=f"{place} {start}-{stop - 1}", work=work, clips=stop - start))
        return tasks

    def clips(self, task: Task) -> Iterator[Clip]:
        place, start, stop, *_ = task.work
        tens = PLACE_OF_TEN.count(place)
        for number in range(start, stop):
            yield self.clip(number // tens * 10 + PLACE_OF_TEN.index(place) + number % tens)

    def place(self, index: int) -> str:
        """Return the split of a clip."""
        return PLACE_OF_TEN[index % 10]

    def clip(self, index: int) -> Clip:
        """Return clip `index`, the same whatever else is asked for."""
        key = f"soundscape-{self.seed}-{index:08d}"
        rng = self._rng(index)
        labels = self._draw_labels(rng, index)
        return Clip(
            key=key,
            labels=labels,
            place=self.place(index),
            group=key,
            source_id=key,
            wave_S=self._mix(rng, labels),
            rate_hz=RATE_HZ,
            promised_s=self.clip_s,
        )

    def _order_label(self, index: int) -> str | None:
        """Return the order class a clip holds, if any: a function of its number within its split."""
        place = self.place(index)
        tens = PLACE_OF_TEN.count(place)
        number = index // 10 * tens + index % 10 - PLACE_OF_TEN.index(place)
        slot = (number * HUNDRED_STEP + self.seed) % 100
        return list(ORDER_VOICES)[slot % 4] if slot < 4 * ORDER_OF_HUNDRED else None

    def labels_of(self, index: int) -> tuple[str, ...]:
        """Return the labels of clip `index` without making its sound."""
        return self._draw_labels(self._rng(index), index)

    def _rng(self, index: int) -> np.random.Generator:
        return generator(self.seed, "soundscape", index)

    def _draw_labels(self, rng: np.random.Generator, index: int) -> tuple[str, ...]:
        """One to three different classes, at most one of them an order class; in the order of LABELS."""
        order_label = self._order_label(index)
        order = [] if order_label is None else [order_label]
        events = int(rng.choice(EVENTS, p=EVENTS_SHARE))
        others = rng.choice(list(VOICES), size=events - len(order), replace=False, p=self._weights)
        return tuple(sorted([*order, *map(str, others)], key=LABELS.index))

    def _mix(self, rng: np.random.Generator, labels: tuple[str, ...]) -> Float32[np.ndarray, " S"]:
        samples = round(self.clip_s * RATE_HZ)
        wave_S = coloured_noise(rng, samples) * _amplitude(rng, NOISE_DB)
        for label in labels:
            voice = ORDER_VOICES.get(label) or VOICES[label]
            event_samples = min(samples, round(rng.uniform(voice.shortest_s, voice.longest_s) * RATE_HZ))
            start = int(rng.integers(0, samples - event_samples + 1))
            level = _amplitude(rng, ORDER_DB if label in ORDER_VOICES else EVENT_DB)
            event_S = voice.play(rng, event_samples)
            wave_S[start : start + event_samples] += event_S * (level / np.abs(event_S).max())
        return wave_S * np.float32(min(1.0, FULL_SCALE / np.abs(wave_S).max()))


def source(where: str) -> Soundscapes:
    """Open `[CLIPS][,clip_s=S][,seed=N]`. Raises UserError for a value that is no number or makes no sense."""
    where, options = split_options(where, ("clip_s", "seed"))
    clips = _number(where or str(CLIPS), "number of clips")
    clip_s = _number(options.get("clip_s", str(CLIP_S)), "clip_s")
    seed = _number(options.get("seed", "0"), "seed")
    if clips < 1 or not clips.is_integer():
        raise UserError(f"soundscapes: {where!r} clips cannot be made; use a whole number from 1")
    if not 1 <= clip_s <= 600:
        raise UserError(f"soundscapes: clip_s={clip_s:g} is not between 1 and 600 seconds")
    if seed < 0 or not seed.is_integer():
        raise UserError(f"soundscapes: seed={seed:g} is not a whole number from 0")
    return Soundscapes(clips=int(clips), clip_s=clip_s, seed=int(seed))


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"soundscapes: {name} {text!r} is not a number; e.g. soundscapes:8000,clip_s=4") from None


def _amplitude(rng: np.random.Generator, range_db: tuple[float, float]) -> np.float32:
    return np.float32(10 ** (rng.uniform(*range_db) / 20))
