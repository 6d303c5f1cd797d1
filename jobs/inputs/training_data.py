"""What a system trains on, read from tokens.zarr, mel shards or both: clips by place, and where they came from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.paired_clips import PairedRows
from audio_tokens.engine.clips.table import Chosen, Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.systems.registry import find
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.inputs.mel_lanes import mel_of
from audio_tokens.jobs.inputs.places import fitted_places, tested_place
from audio_tokens.jobs.training_recipe import must_read
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.plan import held_out
from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore

MOST_LABELS = 20_000  # AudioSet has 527; scores and targets of all clips are held label by label


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Clips of a data set by place; `read(places)` returns them and the source recording (group) of each.

    `hash` names the artefact read, `made_by` the codebook of its tokens or the front end of its mel, `fitted_on` the
    places that the codebook has seen.
    `vocab_sizes` is empty for mel, `alternatives` above 1 for soft tokens, `bands` 0 for tokens; for both together it
    is the width of a position's slice of mel. `longest` is the most positions or frames of any clip.
    """

    hash: str
    made_by: str
    fitted_on: tuple[str, ...]
    labels: tuple[str, ...]
    single_label: bool
    places: tuple[str, ...]
    folds: bool
    longest: int
    vocab_sizes: tuple[int, ...]
    alternatives: int
    bands: int
    read: Callable[[tuple[str, ...]], tuple[Clips, Sequence[str]]]

    def occurring(self) -> list[str]:
        """Return the labels that any clip has."""
        none_L = np.zeros(len(self.labels), np.int64)
        counts_L = sum((self.read((place,))[0].labels.counts() for place in self.places), start=none_L)
        return [label for label, count in zip(self.labels, counts_L.tolist(), strict=True) if count]

    def tagger(self, system: str, options: dict[str, Any]) -> TaggerConfig:
        """Return how a system of that name is built to read these clips and tell their labels apart."""
        return TaggerConfig(
            system=system,
            vocab_sizes=self.vocab_sizes,
            alternatives=self.alternatives,
            bands=self.bands,
            longest=self.longest,
            single_label=self.single_label,
            options=options,
            id2label=dict(enumerate(self.labels)),
        )


def open_for(system: str, tokens: str | None, shards: str | None, *, soft: bool = False) -> TrainingData:
    """Open what the system of that name reads, tokens with their alternatives if `soft`.

    Raises UserError where another than that is given, UserError where there is no such system.
    """
    must_read(system, tokens, shards)
    return open_data(tokens, shards, find(system).mel_scale, soft=soft)


def open_data(tokens: str | None, shards: str | None, mel_scale: str = "clip", *, soft: bool = False) -> TrainingData:
    """Open tokens, mel shards or, as one, both; mel will be normalised by `mel_scale`, tokens are soft if asked for.

    Raises UserError where none is given or the two do not belong together, UserError where one cannot be read.
    """
    if tokens is not None and shards is not None:
        return _paired(Path(tokens), Path(shards), mel_scale, soft)
    if tokens is None and shards is None:
        raise UserError("name --tokens TOKENS.zarr (for a token system), --shards SHARDS (for a raw one) or both")
    return _tokens(Path(tokens), soft) if tokens is not None else _mel(Path(str(shards)), mel_scale)


def see_labels(labels: Sequence[str]) -> None:
    """Raise UserError where there are more labels than a system can tell apart, or none."""
    if len(labels) > MOST_LABELS:
        raise UserError(
            f"the data has {len(labels):,} labels, and at most {MOST_LABELS:,} are told apart; "
            f"--classes top:{MOST_LABELS} takes the most frequent"
        )
    if not labels:
        raise UserError("the data has no label at all, so that there is nothing to learn; build it from labelled sound")


def vectors_of(data: TrainingData, codebook: str | None, embedding: str) -> list[np.ndarray]:
    """Return what embeddings begin with, a table per stream: nothing if `drawn`, `centroids` [K, D], `spectra` [K, F].

    They are those of the codebook that the tokens of `data` were made with. Raises UserError where `codebook` is not
    named or is another one, UserError where it cannot be read.
    """
    if embedding not in ("centroids", "spectra"):
        return []
    if codebook is None:
        raise UserError(f"embedding: {embedding} begins with those of the tokens' codebook; name it with --codebook")
    found = Codebook.load(codebook)
    if found.hash != data.made_by:
        raise UserError(f"--codebook {codebook} is not the one these tokens were made with; name that one")
    return found.spectra() if embedding == "spectra" else [stream.centroids_KD for stream in found.streams]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which clips a system learns from, is chosen on and is tested on.

    `refit` is everything it may learn from where the choice was made on a part of that, else None. `places` names
    validation and test as the run reports them, `test_groups` the recording or speaker of every tested clip.
    """

    train: Clips
    validation: Clips
    refit: Clips | None
    test: Clips
    test_groups: Sequence[str]
    places: tuple[str, str]


@runtime_checkable
class Chooser(Protocol):
    """Says which of the clips that may be learnt from are."""

    def mask(self, keys: Sequence[str], groups: Sequence[str]) -> np.ndarray: ...


def parts_of(
    data: TrainingData, test_fold: int | None, inner_share: float, seed: int, subset: Chooser | None = None
) -> Parts:
    """Return the parts of `data`: its own splits, or the tested fold and an inner split of the others.

    `subset` narrows what is learnt from; validation and test clips stay whole.
    Data without a `val` split is chosen on an inner split of `train`; without a `test` split it is tested on `val`.
    Raises UserError for a fold that is not there, or folds of which none is named.
    """
    learning, test = fitted_places(data, test_fold), tested_place(data, test_fold)
    tested, test_groups = data.read((test,))
    clips, groups = data.read(learning)
    if subset is not None:
        taken = np.flatnonzero(subset.mask(clips.keys, groups))
        clips, groups = clips.select(taken), [groups[clip] for clip in taken.tolist()]
    if "val" in data.places:
        validation = data.read(("val",))[0]
        return Parts(
            train=clips,
            validation=validation,
            refit=None,
            test=tested,
            test_groups=test_groups,
            places=("val", test),
        )
    held_C = held_out(groups, inner_share, seed)
    return Parts(
        train=clips.select(np.flatnonzero(~held_C)),
        validation=clips.select(np.flatnonzero(held_C)),
        refit=clips,
        test=tested,
        test_groups=test_groups,
        places=("inner-val", test),
    )


def _tokens(path: Path, soft: bool) -> TrainingData:
    store = TokenStore.open(path)
    alternatives = store.group(store.places[0]).alternatives if soft else 1
    if not alternatives:
        raise UserError(f"{path} holds one token a position; soft: true wants those of `audio-tokens encode --top M`")

    @cache
    def read(places: tuple[str, ...]) -> tuple[Clips, Sequence[str]]:
        clips, viewed = store.group(*places), tuple(place + VIEWS for place in places if store.views)
        rows = store.group(*places, *viewed)  # the clips, and behind them their views, V rows a clip
        by_view = np.arange(len(clips), len(rows)).reshape(-1, max(1, store.views)).T
        order_R = np.concatenate([np.arange(len(clips)), by_view.ravel()])
        labels = Labels.one_after_the_other(
            rows.label_ids, np.diff(rows.label_offsets), len(store.labels), rows.label_shares
        )
        tokens = TokenRows(
            ids_PQ=_columns(rows.top_ids_PQM) if soft else rows.ids_PQ,
            cosines_PQ=_columns(rows.top_cosines_PQM) if soft else None,
            starts_R=rows.offsets[:-1][order_R],
            lengths_R=np.diff(rows.offsets)[order_R],
            labels=labels.select(order_R),
            keys=clips.keys,
            vocab_sizes=tuple(size for size in store.vocab_sizes for _ in range(alternatives)),
        )
        return Clips.of(tokens), clips.groups

    # what is damaged is refused before anything is written
    lengths = [read((place,))[0].rows.lengths_R for place in store.places]
    return TrainingData(
        hash=store.attributes["fingerprint"],
        made_by=store.codebook_hash,
        fitted_on=tuple(store.attributes["origin"]["places"]),
        labels=store.labels,
        single_label=store.single_label,
        places=store.places,
        folds=store.folds,
        longest=max(int(lengths_R.max(initial=1)) for lengths_R in lengths),
        vocab_sizes=tuple(store.vocab_sizes),
        alternatives=alternatives,
        bands=0,
        read=read,
    )


def _columns(values_PQM: np.ndarray | None) -> np.ndarray:
    """Return the alternatives of all streams side by side, [P, Q M]; a mapping stays one."""
    assert values_PQM is not None, "soft tokens are asked for where there are alternatives alone"
    return values_PQM.reshape(len(values_PQM), -1)


def _mel(path: Path, scale: str) -> TrainingData:
    dataset = Dataset.open(path)
    table, mel = dataset.table, MelConfig.from_dict(mel_of(dataset))

    def read(places: tuple[str, ...]) -> tuple[Clips, Sequence[str]]:
        numbers_R = dataset.numbers_of(*places)
        rows = MelRows(
            fetch=lambda row: dataset.array(int(numbers_R[row])),
            will_fetch=lambda rows_B: dataset.will_read(numbers_R[rows_B]),
            lengths_R=table.frames_C[numbers_R],
            labels=Labels(
                ids=table.label_ids.astype(np.int64),
                starts_C=table.label_offsets[numbers_R],
                lengths_C=np.diff(table.label_offsets)[numbers_R],
                count=len(dataset.labels),
            ),
            keys=Chosen(table.keys, numbers_R),
            bands=mel.bands,
            scale=scale,
        )
        return Clips.of(rows), Chosen(table.groups, numbers_R)

    return TrainingData(
        hash=dataset.hash,
        made_by=mel.config_hash,
        fitted_on=(),
        labels=dataset.labels,
        single_label=dataset.single_label,
        places=dataset.places,
        folds=dataset.folds,
        longest=int(table.frames_C.max(initial=0)),
        vocab_sizes=(),
        alternatives=1,
        bands=mel.bands,
        read=read,
    )


def _paired(tokens: Path, shards: Path, scale: str, soft: bool) -> TrainingData:
    """Put tokens beside the mel they were made from, matched by key; the store says which frames a position saw."""
    store = TokenStore.open(tokens)
    if store.dataset_hash != Dataset.open(shards).hash:
        raise UserError(f"{tokens} was not encoded from {shards}; name the shards that it was, or encode these")
    if "stride_frames" not in store.attributes:
        raise UserError(f"{tokens} does not tell which frames its positions stand for; encode it again with --force")
    slices = SliceConfig(contexts=(store.attributes["context_frames"],), stride=store.attributes["stride_frames"])
    of_tokens, of_mel = _tokens(tokens, soft), _mel(shards, scale)

    def read(places: tuple[str, ...]) -> tuple[Clips, Sequence[str]]:
        clips, groups = of_tokens.read(places)
        token_rows, mel_rows = clips.rows, of_mel.read(places)[0].rows
        assert isinstance(token_rows, TokenRows)
        assert isinstance(mel_rows, MelRows)
        row_of = {key: row for row, key in enumerate(mel_rows.keys)}
        if missing := [key for key in token_rows.keys if key not in row_of]:
            raise UserError(f"{shards} lacks {len(missing)} clips of {tokens}, {missing[0]} for one; encode it again")
        rows_R = np.array([row_of[key] for key in token_rows.keys], dtype=np.int64)
        return Clips.of(PairedRows(tokens=token_rows, mel=mel_rows, mel_rows_R=rows_R, slices=slices)), groups

    return replace(of_tokens, bands=slices.contexts[0] * of_mel.bands, read=read)
