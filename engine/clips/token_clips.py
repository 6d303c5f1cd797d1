"""Clips ready to be trained on: tokens resident in memory, mel fetched one clip at a time by a thread that runs ahead.

Axes: C clips, B batch, P positions of all clips, T positions or frames of a clip, Q token streams, F mel bands, L
labels, N values of all clips.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int64, Shaped, UInt16, UInt32
from torch import Tensor

from audio_tokens.engine.codebook.soft_tokens import ID
from audio_tokens.errors import UserError


class Batch(NamedTuple):
    """`input` is ids_BTQ (int64) or mel_BTF (float32), `lengths_B` int64, `targets` [B, L] float32 of 0 and 1.

    `beside` is what a system is given beside its input, a row per position too, by the name that `forward` knows it by:
    `slices_BTD` (float32), the mel each position's tokens were made from, and `weights_BTQ` (float32), how much each id
    of a position counts.
    """

    input: Tensor
    lengths_B: Tensor
    targets: Tensor
    beside: Mapping[str, Tensor] = MappingProxyType({})

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with all but the lengths on `device`."""
        beside = {name: array.to(device) for name, array in self.beside.items()}
        return Batch(self.input.to(device), self.lengths_B, self.targets.to(device), beside)

    def pieces(self, clips: int) -> "list[Batch]":
        """Cut the batch into parts of at most `clips` clips."""
        pieces = []
        for start in range(0, len(self.lengths_B), clips):
            part = slice(start, start + clips)
            beside = {name: array[part] for name, array in self.beside.items()}
            pieces.append(Batch(self.input[part], self.lengths_B[part], self.targets[part], beside))
        return pieces


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Which of `count` labels each clip has: clip c has ids[starts_C[c] : starts_C[c] + lengths_C[c]].

    `shares` says how much of each is in the clip, where clips were mixed; else 1 of each.
    """

    ids: Int64[np.ndarray, "N"]
    starts_C: Int64[np.ndarray, "C"]
    lengths_C: Int64[np.ndarray, "C"]
    count: int
    shares: Float32[np.ndarray, "N"] | None = None

    def targets(self, clips_B: Int64[np.ndarray, "B"]) -> Float32[np.ndarray, "B L"]:
        """Return the share of every label in `clips_B`, 0..1."""
        lengths_B = self.lengths_C[clips_B]
        entries = entries_of(self.starts_C[clips_B], lengths_B)
        targets_BL = np.zeros((len(clips_B), self.count), dtype=np.float32)
        shares = np.float32(1) if self.shares is None else self.shares[entries]
        targets_BL[np.repeat(np.arange(len(clips_B)), lengths_B), self.ids[entries]] = shares
        return targets_BL

    def table(self) -> Bool[np.ndarray, "C L"]:
        """Return which labels all clips have."""
        return self.targets(np.arange(len(self.starts_C))) > 0

    def counts(self) -> Int64[np.ndarray, "L"]:
        """Return how many clips have each label."""
        return np.bincount(self.ids[entries_of(self.starts_C, self.lengths_C)], minlength=self.count)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "Labels":
        """Return the labels of some clips only."""
        return replace(self, starts_C=self.starts_C[clips_B], lengths_C=self.lengths_C[clips_B])

    def only(self, chosen: Sequence[int]) -> "Labels":
        """Return the labels of every clip without those that are not `chosen`; label chosen[i] becomes i."""
        new_ids_L = np.full(self.count, -1, dtype=np.int64)
        new_ids_L[list(chosen)] = np.arange(len(chosen))
        new_ids_N = new_ids_L[self.ids]
        kept_before_N = np.concatenate([[0], np.cumsum(new_ids_N >= 0)])
        starts_C = kept_before_N[self.starts_C]
        lengths_C = kept_before_N[self.starts_C + self.lengths_C] - starts_C
        kept_N = new_ids_N >= 0
        shares = None if self.shares is None else self.shares[kept_N]
        return Labels(ids=new_ids_N[kept_N], starts_C=starts_C, lengths_C=lengths_C, count=len(chosen), shares=shares)


@runtime_checkable
class Clips(Protocol):
    """What the loop asks of a data set that fits an index: length, names, labels, batches by index."""

    @property
    def keys(self) -> Sequence[str]: ...
    @property
    def lengths_C(self) -> np.ndarray: ...
    @property
    def labels(self) -> Labels: ...

    def __len__(self) -> int: ...

    def select(self, clips_B: np.ndarray) -> "Clips":
        """Return some clips only, in the order given."""

    def narrowed(self, chosen: Sequence[int]) -> "Clips":
        """Return the same clips with the `chosen` labels only: see Labels.only."""

    def drawn(self, rng: np.random.Generator) -> "Clips":
        """Return the clips as one epoch of training meets them: each in one of its versions, any as likely."""

    def versions(self) -> "Sequence[Clips]":
        """Return the clips as they are, and after them each view of all of them."""

    def batches(self, parts: Iterable[np.ndarray]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers."""


class Version(NamedTuple):
    """Where one view of every clip lies among the tokens, and its labels."""

    starts_C: Int64[np.ndarray, "C"]
    lengths_C: Int64[np.ndarray, "C"]
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class TokenClips:
    """Tokens of all clips, flat in memory: clip c has ids_PQ[starts_C[c] : starts_C[c] + lengths_C[c]].

    Stream q counts its tokens 0..vocab_sizes[q]-1. AudioSet's two million clips are 1.7 GB. `views` are further
    versions of all clips, for training. Soft tokens (see soft_tokens.py) are uint32 and have a column, and an entry of
    `vocab_sizes`, for each alternative of a stream.
    """

    ids_PQ: UInt16[np.ndarray, "P Q"] | UInt32[np.ndarray, "P Q"]
    starts_C: Int64[np.ndarray, "C"]
    lengths_C: Int64[np.ndarray, "C"]
    labels: Labels
    keys: Sequence[str]
    vocab_sizes: tuple[int, ...]
    views: tuple[Version, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.ids_PQ):
            return
        most_Q = (self.ids_PQ if self.ids_PQ.dtype == np.uint16 else self.ids_PQ & ID).max(axis=0)
        if (most_Q >= np.array(self.vocab_sizes)).any():
            raise UserError(f"token ids reach {most_Q}; the vocabulary sizes are {self.vocab_sizes}")

    def __len__(self) -> int:
        return len(self.starts_C)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "TokenClips":
        """Return some clips only, in the order given; the tokens themselves are shared."""
        return replace(
            self,
            starts_C=self.starts_C[clips_B],
            lengths_C=self.lengths_C[clips_B],
            labels=self.labels.select(clips_B),
            keys=[self.keys[c] for c in clips_B.tolist()],
            views=tuple(
                Version(starts_C[clips_B], lengths_C[clips_B], labels.select(clips_B))
                for starts_C, lengths_C, labels in self.views
            ),
        )

    def narrowed(self, chosen: Sequence[int]) -> "TokenClips":
        """Return the same clips with the `chosen` labels only."""
        views = tuple(view._replace(labels=view.labels.only(chosen)) for view in self.views)
        return replace(self, labels=self.labels.only(chosen), views=views)

    def drawn(self, rng: np.random.Generator) -> "TokenClips":
        """Return the clips each in one of its versions, any as likely; without views, the clips as they are."""
        if not self.views:
            return self
        versions, clips_C = self.versions(), np.arange(len(self))
        draw_C = rng.integers(len(versions), size=len(self))
        every = side_by_side([version.labels for version in versions])
        return replace(
            self,
            starts_C=np.stack([version.starts_C for version in versions])[draw_C, clips_C],
            lengths_C=np.stack([version.lengths_C for version in versions])[draw_C, clips_C],
            labels=every.select(draw_C * len(self) + clips_C),
            views=(),
        )

    def versions(self) -> "list[TokenClips]":
        """Return the clips as they are, and after them each view of all of them."""
        plain = replace(self, views=())
        return [plain, *(replace(plain, **view._asdict()) for view in self.views)]

    def batches(self, parts: Iterable[Int64[np.ndarray, "..."]]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers, gathered without a loop over clips; PAD follows a short clip."""
        return map(self.batch, parts)

    def batch(self, clips_B: Int64[np.ndarray, "B"]) -> Batch:
        """Return the clips `clips_B` padded to the longest of them with PAD, which is each stream's vocabulary size."""
        lengths_B = self.lengths_C[clips_B]
        ids_BTQ, real_BT = ragged(self.ids_PQ, self.starts_C[clips_B], lengths_B)
        ids_BTQ = ids_BTQ.astype(np.int64)
        if not real_BT.all():
            ids_BTQ[~real_BT] = self.vocab_sizes
        targets_BL = torch.from_numpy(self.labels.targets(clips_B))
        return Batch(torch.from_numpy(ids_BTQ), torch.from_numpy(lengths_B), targets_BL)


@dataclass(frozen=True, kw_only=True)
class MelClips:
    """Log mel of clips that `fetch` reads one at a time (float16 [T, F]); `scale` of SCALES is applied in a batch."""

    fetch: Callable[[int], Float16[np.ndarray, "T F"]]
    rows_C: Int64[np.ndarray, "C"]
    lengths_C: Int64[np.ndarray, "C"]
    labels: Labels
    keys: Sequence[str]
    bands: int
    scale: str = "clip"

    def __len__(self) -> int:
        return len(self.rows_C)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "MelClips":
        """Return some clips only, in the order given."""
        return replace(
            self,
            rows_C=self.rows_C[clips_B],
            lengths_C=self.lengths_C[clips_B],
            labels=self.labels.select(clips_B),
            keys=[self.keys[c] for c in clips_B.tolist()],
        )

    def narrowed(self, chosen: Sequence[int]) -> "MelClips":
        """Return the same clips with the `chosen` labels only."""
        return replace(self, labels=self.labels.only(chosen))

    def drawn(self, rng: np.random.Generator) -> "MelClips":
        """Return the clips as they are: mel has no views."""
        return self

    def versions(self) -> "list[MelClips]":
        """Return the clips as they are, alone."""
        return [self]

    def batches(self, parts: Iterable[Int64[np.ndarray, "..."]]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers, the next two read while one is worked on."""
        return ahead(map(self.batch, parts), depth=2)

    def batch(self, clips_B: Int64[np.ndarray, "B"]) -> Batch:
        """Return the clips `clips_B`, normalised, padded to the longest of them with 0."""
        lengths_B = self.lengths_C[clips_B]
        mel_BTF = np.zeros((len(clips_B), int(lengths_B.max()), self.bands), dtype=np.float32)
        for row, clip in enumerate(clips_B.tolist()):
            mel_BTF[row, : lengths_B[row]] = SCALES[self.scale](self.fetch(int(self.rows_C[clip])))
        targets_BL = torch.from_numpy(self.labels.targets(clips_B))
        return Batch(torch.from_numpy(mel_BTF), torch.from_numpy(lengths_B), targets_BL)


def normalised(mel_TF: Float[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
    """Return a clip's mel at mean 0 and deviation 1 (a constant clip becomes 0): raw systems read mel this way."""
    mel_TF = mel_TF.astype(np.float32)
    mel_TF -= mel_TF.mean()
    return mel_TF / max(float(mel_TF.std()), 1e-5)


def by_audioset(mel_TF: Float[np.ndarray, "T F"]) -> Float32[np.ndarray, "T F"]:
    """Return mel of front end ast16k as AST expects it: by AudioSet's mean and twice its deviation, as published."""
    return (mel_TF.astype(np.float32) - np.float32(-4.2677393)) / np.float32(2 * 4.5689974)


SCALES = {"clip": normalised, "audioset": by_audioset}


def side_by_side(parts: Sequence[Labels]) -> Labels:
    """Return the labels of several sets of clips as those of one, the sets one after the other."""
    entries = np.cumsum([0, *(len(part.ids) for part in parts)])
    mixed = any(part.shares is not None for part in parts)
    shares = [np.ones(len(part.ids), np.float32) if part.shares is None else part.shares for part in parts]
    return Labels(
        ids=np.concatenate([part.ids for part in parts]),
        starts_C=np.concatenate([part.starts_C + first for part, first in zip(parts, entries[:-1], strict=True)]),
        lengths_C=np.concatenate([part.lengths_C for part in parts]),
        count=parts[0].count,
        shares=np.concatenate(shares) if mixed else None,
    )


def entries_of(starts_B: Int64[np.ndarray, "B"], lengths_B: Int64[np.ndarray, "B"]) -> Int64[np.ndarray, "N"]:
    """Return the numbers of all entries of the runs that begin at `starts_B`, one run after the other."""
    before_B = np.cumsum(lengths_B) - lengths_B  # where a run begins once they lie side by side
    return np.repeat(starts_B - before_B, lengths_B) + np.arange(lengths_B.sum())


def ragged(
    values: Shaped[np.ndarray, "N ..."], starts_B: Int64[np.ndarray, "B"], lengths_B: Int64[np.ndarray, "B"]
) -> tuple[Shaped[np.ndarray, "B T ..."], Bool[np.ndarray, "B T"]]:
    """Return the runs of `values` that begin at `starts_B`, padded to the longest, and which entries are real.

    What stands in the other entries is arbitrary.
    """
    steps_T = np.arange(int(lengths_B.max(initial=0)))
    real_BT = steps_T < lengths_B[:, None]
    rows_BT = starts_B[:, None] + steps_T
    if not real_BT.all():
        rows_BT[~real_BT] = 0
    return values[rows_BT], real_BT


def ahead(items: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield `items`, up to `depth` of them made ahead by a thread; an error in the thread is raised here."""
    made: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: tuple[Batch | None, BaseException | None]) -> None:
        while not closed.is_set():
            try:
                return made.put(item, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put((item, None))
                if closed.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=make, name="mel reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        closed.set()
        thread.join()
