"""What a report shows, gathered by jobs/artefacts and drawn here; no file is read in this folder.

C clips, L labels, K tokens, T frames, F mel bands, P positions, Q streams, S samples, W parts of a clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system and recipe, means over all its seeds and folds; figures 0..1, with 95 % intervals over clips.

    `less` is how much lower its main figure is than the best row's on the same clips, with interval and p; none for the
    best row itself, and where the clips differ. `parts` lists every run: (seed, fold, clips, mAP, accuracy).
    """

    system: str
    recipe: str
    seeds: Sequence[int]
    folds: int
    clips_train: int
    clips_eval: int
    figures: Mapping[str, float | None]
    intervals: Mapping[str, Interval]
    less: tuple[float, Interval, float] | None
    parameters: int
    seconds: float
    parts: Sequence[tuple[int, int | None, int, float, float | None]]

    @property
    def name(self) -> str:
        return f"{self.system}, {self.recipe}"


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A label: its clips in the test (all folds), and each system's average precision, the mean over runs that have it.

    `interval` is of the best row; none where no run has a positive clip, or where it was too much to compute.
    """

    label: str
    positives: int
    ap: Mapping[str, float]
    interval: Interval | None

    def gain(self, system: str, over: str) -> float | None:
        """Return what one system has more than another; None where either has no clip of the label."""
        return self.ap[system] - self.ap[over] if system in self.ap and over in self.ap else None


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often the clips of a label (row) had another label (column) ranked highest above it.

    The column is the clip's highest label outside its own, where that outranks the row's; else the row's own.
    """

    name: str
    labels: Sequence[str]
    counts_LL: np.ndarray

    def pairs(self, most: int) -> list[tuple[str, str, int, int]]:
        """Return (label, taken for, times, of so many clips), the most frequent first."""
        wrong_LL = self.counts_LL - np.diag(np.diag(self.counts_LL))
        totals_L = self.counts_LL.sum(axis=1)
        order = np.argsort(-wrong_LL, axis=None, kind="stable")[:most]
        found = [divmod(int(flat), len(self.labels)) for flat in order]
        return [
            (self.labels[i], self.labels[j], int(wrong_LL[i, j]), int(totals_L[i])) for i, j in found if wrong_LL[i, j]
        ]


@dataclass(frozen=True, kw_only=True)
class Played:
    """A sound to play, and its waveform's extremes."""

    wave_S: np.ndarray
    rate_hz: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A tested clip: its labels, what the best system said (highest first), its loss, and its sound where found."""

    key: str
    labels: Sequence[str]
    said: Sequence[tuple[str, float]]
    loss: float
    sound: Played | None


@dataclass(frozen=True, kw_only=True)
class OverTime:
    """What a system says of parts of a clip, each `part_s` long: probabilities 0..1 of some labels."""

    starts_s_W: np.ndarray
    part_s: float
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class ClipView:
    """A clip seen from all sides: mel and decoded mel in dB, tokens, sound and what the tokens sound like.

    `over_time` is what the system that judged it says of its parts.

    `error_db` is the root mean square between the mels at the clip's own level, `simple_error_db` the same by tokens of
    single frames, as recipe `seed` makes them, and `random_error_db` with tokens drawn at random by their use: what a
    codebook without information would do.
    """

    judged: Judged
    mel_TF: np.ndarray
    decoded_TF: np.ndarray
    ids_PQ: np.ndarray
    seconds: float
    resynthesis: Played | None
    over_time: OverTime
    error_db: float
    simple_error_db: float
    random_error_db: float


@dataclass(frozen=True, kw_only=True)
class TokenView:
    """A token: its mel patch (normalised), how often it was used in fitting, labels it is over-represented in.

    `snippets` are the nearest to its centroid among the clips looked through.
    """

    token: int
    patch_TF: np.ndarray
    usage: int
    centre_band: float
    labels: Sequence[tuple[str, float]]
    snippets: Sequence[Played]


@dataclass(frozen=True, kw_only=True)
class CodebookView:
    """The tokens of one stream, with the figures of the whole codebook."""

    name: str
    tokens: int
    used: int
    perplexity: float
    usage_K: np.ndarray
    shown: Sequence[TokenView]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A clip that a system which reads order finds more of `label` in than the bag, and what each part adds to that.

    `adds_W` is by how much the label's log odds fall where the tokens of a part are cut out, `part_s` seconds from
    `starts_s_W` on; `sequence` and `bag` are both systems' probabilities 0..1 of the label.
    """

    label: str
    judged: Judged
    mel_TF: np.ndarray
    ids_PQ: np.ndarray
    seconds: float
    starts_s_W: np.ndarray
    part_s: float
    adds_W: np.ndarray
    sequence: float
    bag: float


@dataclass(frozen=True, kw_only=True)
class OrderView:
    """The best system that reads order beside the bag of the same tokens, by name."""

    sequence: str
    bag: str
    evidence: Sequence[Evidence]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A work folder as its report shows it."""

    title: str
    source: str
    places: Mapping[str, int]
    labels: int
    main: str
    chance: float
    rows: Sequence[Row]
    curves: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
    classes: Sequence[ClassRow]
    confusions: Sequence[Confusion]
    worst: Sequence[Judged]
    clips: Sequence[ClipView]
    codebooks: Sequence[CodebookView]
    rejects: Mapping[str, tuple[int, str]]
    command: str
    settings: Mapping[str, str]
    dates: Mapping[str, str]
    order: OrderView | None = None
    notes: Sequence[str] = field(default_factory=tuple)
