"""Which tokens keep a word or a sound, and what does order add? arabic-commands and ESC-50, by order_protocol.md.

    python -m benchmarks.studies.order --work W [NAME ...]    what has no line in the results yet
    python -m benchmarks.studies.order --work W --test NAME   a frozen one, where it is tested; its line is the log
    python -m benchmarks.studies.order --work W --table [--against NAME]

Figures are those of the part that chooses (validation speakers; fold 5 where folds 2 to 4 are learnt from, fold 1 being
left alone), after the last epoch; only `--test` reads test speakers and tested folds. What a run is made of (mel
of every view, tokens, checkpoints) lies in the work folder and is made once.

C clips, T frames, F mel bands, P positions of all clips, Q token streams, M alternatives of a soft token.
"""

import argparse
import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.scores.metrics import score
from audio_tokens.engine.sound.log_mel import FrontEnd
from audio_tokens.engine.sound.mel_config import MEL_CONFIGS
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.engine.systems.registry import find
from audio_tokens.engine.systems.tagger import TaggerConfig
from audio_tokens.engine.train_config import TrainConfig, model_options, training_of
from audio_tokens.engine.training.evaluation import predict
from audio_tokens.engine.training.run_context import RunContext
from audio_tokens.engine.training.train_system import Trained, Trial
from audio_tokens.engine.world import processes
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.jobs.inputs.front_end import ClipToViews
from audio_tokens.jobs.training_recipe import TrainingRecipe, trainable
from audio_tokens.seeds import generator
from audio_tokens.shards.publish import published_file
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import open_source
from benchmarks.studies.recipe_study import MemoryLanes

ESC = "esc50-16k"
FOLDS = tuple(f"fold-{number}" for number in range(1, 6))
SOURCES = {"arabic-commands": "csv:{}/arabic-commands/clips.csv", ESC: "esc50:{}/esc50-16k"}
# What each split is to the study. Folds 2 to 4 of ESC-50 are learnt from and fold 5 chooses; and each is tested once,
# by what is frozen and learnt from the other four.
PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "arabic-commands": {"train": ("train",), "val": ("val",), "test": ("test",)},
    ESC: {"train": FOLDS[1:4], "val": FOLDS[4:]},
    **{f"{ESC}/{fold}": {"train": tuple(f for f in FOLDS if f != fold), "test": (fold,)} for fold in FOLDS},
}
RESULTS = Path(__file__).parents[1] / "results" / "order.jsonl"
SOFT = 4  # alternatives stored for every position; a trial reads the first few of them


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """How tokens are made: front end, streams, views of every clip; `compared` are views that whitening is by."""

    mel: str = "mel22k"
    slices: SliceConfig = field(default_factory=SliceConfig)
    clusters: tuple[int, ...] = (500,)
    views: ViewConfig = field(default_factory=ViewConfig)
    compared: ViewConfig = field(default_factory=ViewConfig)

    @property
    def codebook_name(self) -> str:
        """Sixteen hex digits that tell the codebook from others; views take no part in it."""
        return digest(asdict(replace(self, views=ViewConfig())))


@dataclass(frozen=True, kw_only=True)
class Study:
    """One row: some streams of some tokens, `top` alternatives of each, and a system trained on them.

    A raw system reads the mel of the same clips and views; `decoded`, the mel that the nearest tokens stand for.
    """

    sounds: str = "arabic-commands"
    tokens: Tokens
    streams: tuple[int, ...] = (0,)
    top: int = 1
    system: str = "token-bag"
    options: dict[str, Any] = field(default_factory=dict)
    shuffled: bool = False
    decoded: bool = False
    score_views: bool = False
    full: bool = False  # the product's own k-means budget rather than the study's


def digest(fields: Any) -> str:
    """Return sixteen hex digits that tell `fields` from others."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


class Sounds:
    """Mel of all clips of some splits and of their views, made once and kept in the work folder."""

    def __init__(self, name: str, data: Path, work: Path) -> None:
        published = name.split("/")[0]
        self._source, self._places = open_source(SOURCES[published].format(data)), PLACES[name]
        self.labels, self._work = self._source.labels, work / published
        self._work.mkdir(parents=True, exist_ok=True)

    def mels(self, place: str, mel: str, views: ViewConfig, seed: int = 0) -> list[list[np.ndarray]]:
        """Return float16 mel [T, F], a list of clips for the sound itself and for each view."""
        parts = [self._mels(part, mel, views, seed) for part in self._places[place]]
        return [list(chain(*version)) for version in zip(*parts, strict=True)]

    def _mels(self, part: str, mel: str, views: ViewConfig, seed: int) -> list[list[np.ndarray]]:
        file = self._work / f"mel-{part}-{digest([mel, asdict(views), seed])}.npz"
        if not file.exists():
            to_views = ClipToViews(FrontEnd(MEL_CONFIGS[mel]), views, seed)
            versions = list(
                zip(*([v.mel_TF.astype(np.float16) for v in to_views(c, None)] for c in self._clips(part)), strict=True)
            )
            flat = [mel_TF for version in versions for mel_TF in version]
            with published_file(file) as path, path.open("wb") as out:
                np.savez(out, mel=np.concatenate(flat), lengths=[len(m) for m in flat], versions=len(versions))
        found = np.load(file)
        flat = np.split(found["mel"], np.cumsum(found["lengths"])[:-1])
        clips = len(flat) // int(found["versions"])
        return [flat[first : first + clips] for first in range(0, len(flat), clips)]

    @cache  # noqa: B019 (one object a process)
    def listing(self, place: str) -> tuple[list[str], list[int], list[str]]:
        """Return key, label and speaker (or recording) of every clip."""
        clips = [clip for part in self._places[place] for clip in self._clips(part)]
        return (
            [c.key for c in clips],
            [self.labels.index(c.labels[0]) for c in clips],
            [c.group for c in clips],
        )

    def _clips(self, part: str) -> Iterator[Clip]:
        for task in self._source.tasks():
            for clip in self._source.clips(task):
                assert isinstance(clip, Clip), f"{clip.source_id}: {clip.reason}"  # the published set is complete
                if clip.place == part:
                    yield clip


class Tokenized:
    """Tokens of a split, fitted on the training split; made once and kept in the work folder."""

    def __init__(self, sounds: Sounds, tokens: Tokens, seed: int, full: bool, work: Path) -> None:
        self._sounds, self.tokens, self.seed, self._full = sounds, tokens, seed, full
        self._folder = work / f"tokens-{tokens.codebook_name}-{seed}{'-full' if full else ''}"
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def codebook(self) -> Codebook:
        if not (self._folder / "config.json").exists():
            clips = self._sounds.mels("train", self.tokens.mel, ViewConfig())[0]
            kmeans = KMeansConfig(clusters=self.tokens.clusters)
            if not self._full:
                kmeans = replace(kmeans, batch_epochs=1, passes=2, sample_per_centroid=16)
            lanes = MemoryLanes(clips if self._full else clips[::3], self.seed)
            pairs = None
            if self.tokens.compared.count:
                own, view, *_ = self._sounds.mels("train", self.tokens.mel, self.tokens.compared, self.seed)
                pairs = MemoryLanes(list(zip(own, view, strict=True))[::3], self.seed)
            mel = MEL_CONFIGS[self.tokens.mel].to_dict()
            fit = CodebookFit(lanes, mel, self.tokens.slices, kmeans, self.seed, pairs=pairs)
            *_, last = fit.checkpoints()
            fit.codebook(last, {}).save(self._folder)
        return Codebook.load(self._folder)

    def clips(self, place: str, study: Study) -> Clips:
        """Return the clips of a split, with the views that are learnt from, or scored."""
        views = self.tokens.views if place == "train" or study.score_views else ViewConfig()
        reader = self._mel if find(study.system).reads == ("mel",) else self._tokens
        return Clips.of(reader(place, study, views))

    def _mel(self, place: str, study: Study, views: ViewConfig) -> MelRows:
        mels = [mel_TF for version in self._sounds.mels(place, self.tokens.mel, views) for mel_TF in version]
        if study.decoded:
            tokenizer = AudioTokenizer(narrowed(self.codebook, study.streams))
            mels = [tokenizer.decode(tokenizer.encode_mel(mel_TF)).astype(np.float16) for mel_TF in mels]
        return MelRows(
            fetch=mels.__getitem__,
            lengths_R=np.array([len(mel_TF) for mel_TF in mels]),
            labels=self._labels(place, len(mels)),
            keys=self._sounds.listing(place)[0],
            bands=mels[0].shape[1],
        )

    def _labels(self, place: str, rows: int) -> Labels:
        """Return the labels of the clips and, after them, of each view of all of them."""
        label_C = self._sounds.listing(place)[1]
        label_R = np.tile(label_C, rows // len(label_C))
        return Labels.one_after_the_other(label_R, np.ones_like(label_R), len(self._sounds.labels))

    def _tokens(self, place: str, study: Study, views: ViewConfig) -> TokenRows:
        file = self._folder / (f"{place}-views-{digest(asdict(views))}.npz" if views.count else f"{place}.npz")
        if not file.exists():
            tokenizer = AudioTokenizer(self.codebook)
            mels = self._sounds.mels(place, self.tokens.mel, views)
            made = [tokenizer.encode_mels([mel_TF], SOFT)[0] for version in mels for mel_TF in version]
            with published_file(file) as path, path.open("wb") as out:
                np.savez(
                    out,
                    ids=np.concatenate([one.top_ids_PQM for one in made if one.top_ids_PQM is not None]),
                    cosines=np.concatenate([one.top_cosines_PQM for one in made if one.top_cosines_PQM is not None]),
                    lengths=np.array([len(one.ids_PQ) for one in made]),
                )
        found = np.load(file)
        streams, top = list(study.streams), study.top
        lengths = found["lengths"]
        ids_PQ, cosines_PQ = (found[name][:, streams, :top].reshape(lengths.sum(), -1) for name in ("ids", "cosines"))
        if study.shuffled:
            ids_PQ, cosines_PQ = (
                positions_permuted(values_PQ, lengths, generator(self.seed, f"order control {place}"))
                for values_PQ in (ids_PQ, cosines_PQ)
            )
        return TokenRows(
            ids_PQ=ids_PQ,
            cosines_PQ=None if top == 1 else cosines_PQ,
            starts_R=np.cumsum(lengths) - lengths,
            lengths_R=lengths,
            labels=self._labels(place, len(lengths)),
            keys=self._sounds.listing(place)[0],
            vocab_sizes=tuple(self.tokens.clusters[stream] for stream in streams for _ in range(top)),
        )


def narrowed(codebook: Codebook, streams: Sequence[int]) -> Codebook:
    """Return the codebook of some of its streams alone."""
    slices = codebook.slices
    bands = tuple(slices.bands[stream] for stream in streams) if slices.bands else ()
    return replace(
        codebook,
        slices=replace(slices, contexts=tuple(slices.contexts[stream] for stream in streams), bands=bands),
        streams=tuple(codebook.streams[stream] for stream in streams),
    )


def scored(study: Study, tokenized: Tokenized, folder: Path, scored_on: Clips) -> tuple[Trained, np.ndarray]:
    """Train the study's system on the training speakers; score it: [C, L], of `scored_on`."""
    options = trainable(study.system).by(TrainingRecipe(), ({"soft": True} if study.top > 1 else {}) | study.options)
    config, clips = training_of(options), tokenized.clips("train", study)
    bands = clips.rows.bands if isinstance(clips.rows, MelRows) else 0
    system = TaggerConfig(
        system=study.system,
        vocab_sizes=[] if bands else [tokenized.tokens.clusters[stream] for stream in study.streams],
        alternatives=study.top,
        bands=bands,
        longest=int(max(version.lengths_C.max() for version in clips.versions())),
        single_label=True,
        options=model_options(options),
        id2label=dict(enumerate(tokenized._sounds.labels)),
    )
    vectors = []
    if system.options.get("embedding") == "centroids":
        vectors = [stream.centroids_KD for stream in narrowed(tokenized.codebook, study.streams).streams]
    return to_the_last_epoch(
        system, config, clips, scored_on, tokenized.seed, folder, vectors=vectors, score_views=study.score_views
    )


def to_the_last_epoch(
    system: TaggerConfig,
    config: TrainConfig,
    clips: Clips,
    scored_on: Clips,
    seed: int,
    folder: Path,
    *,
    vectors: Sequence[np.ndarray] = (),
    score_views: bool,
) -> tuple[Trained, np.ndarray]:
    """Train a system with nothing being chosen meanwhile, checkpoints in `folder`; score it: [C, L] of `scored_on`."""
    with processes() as accelerator:
        context = RunContext(
            config=config,
            seed=seed,
            order=partial(order_of, config),
            accelerator=accelerator,
            folder=folder,
            publish=published_file,
            on_epoch=lambda phase, progress, last_epoch: print(_epoch(progress.rows[-1]), flush=True),
        )
        found = Trial(system=system, context=context, vectors=vectors).refit(clips)
        return found, predict(found.model, scored_on, accelerator, score_views)[0]


def _epoch(row: dict[str, Any]) -> str:
    return f"  epoch {row['epoch']}: loss {row['train_loss']:.3f}, {row['seconds']:.0f} s"


def run(name: str, study: Study, seed: int, sounds: Sounds, work: Path, place: str = "val") -> dict[str, Any]:
    """Train and score one study; returns its line of results."""
    tokenized = Tokenized(sounds, study.tokens, seed, study.full, work)
    clips, start_s = tokenized.clips(place, study), time.process_time()
    fitted, scores_CL = scored(study, tokenized, work / f"{name}-{seed}", clips)
    targets_CL = clips.labels.table()
    found = score(scores_CL, targets_CL)
    assert found.accuracy is not None
    cpu_s = time.process_time() - start_s
    right_C = scores_CL.argmax(axis=1) == targets_CL.argmax(axis=1)
    np.save(work / f"{name}-{seed}-{place}.npy", right_C)
    return {
        "name": name,
        "seed": seed,
        "place": place,
        "accuracy": round(found.accuracy, 4),
        "mAP": round(found.mAP, 4),
        "speakers": by_speaker(right_C, sounds.listing(place)[2]) if study.sounds == "arabic-commands" else {},
        "cpu_s": round(cpu_s),
        "parameters": fitted.model.trainable_parameters,
        "date": datetime.date.today().isoformat(),
    }


def positions_permuted(ids_PQ: np.ndarray, lengths_C: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the tokens with every clip's positions in a random order; what stands at one position stays together."""
    return np.concatenate([rng.permutation(clip_TQ) for clip_TQ in np.split(ids_PQ, np.cumsum(lengths_C)[:-1])])


def by_speaker(right_C: np.ndarray, speakers: Sequence[str]) -> dict[str, float]:
    """Return the accuracy on each speaker's clips."""
    names = np.array(speakers)
    return {name: round(float(right_C[names == name].mean()), 4) for name in sorted(set(speakers))}


def interval(accuracies: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean over speakers, or of their mean difference, speakers drawn again.

    Six speakers make a rough one; every speaker has as many clips as another.
    """
    draws = generator(seed, "speakers").integers(len(accuracies), size=(10_000, len(accuracies)))
    low, high = np.quantile(np.array(accuracies)[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def table(rows: Sequence[dict[str, Any]], against: str | None) -> str:
    """Return the results in markdown; `against` names the run whose difference, paired by speaker, is told."""
    titles = ("run", "seed", "speakers", "accuracy % [95 %]", "mAP %", "over it, points", "CPU s", "parameters")
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for row in rows:
        base = [r for r in rows if r["name"] == against and (r["seed"], r["place"]) == (row["seed"], row["place"])]
        over = within = ""
        if row["speakers"]:
            low, high = interval(list(row["speakers"].values()))
            within = f" [{100 * low:.1f}, {100 * high:.1f}]"
        if base and base[0] is not row and row["speakers"].keys() == base[0]["speakers"].keys():
            over = f"{100 * (row['accuracy'] - base[0]['accuracy']):+.1f}"
            if apart := [row["speakers"][name] - base[0]["speakers"][name] for name in row["speakers"]]:
                over += f" [{100 * interval(apart)[0]:+.1f}, {100 * interval(apart)[1]:+.1f}]"
        lines.append(
            f"| {row['name']} | {row['seed']} | {row['place']} | {100 * row['accuracy']:.1f}{within} | "
            f"{100 * row['mAP']:.1f} | {over} | {row['cpu_s']} | {row['parameters']:,} |"
        )
    return "\n".join(lines)


def results(file: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the lines of what has been run."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    from benchmarks.studies.order_trials import STUDIES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("AUDIO_TOKENS_DATA"), help="holds arabic-commands/")
    parser.add_argument("--work", type=Path, required=True, help="what runs are made of; a few GB")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true", help="score on test speakers or folds: only what is frozen")
    parser.add_argument("--table", action="store_true", help="print what there is, and run nothing")
    parser.add_argument("--against", help="with --table: the run that the others are compared with")
    parser.add_argument("--results", type=Path, default=RESULTS, help="lines of what is done; another file repeats it")
    parser.add_argument("names", nargs="*", help="studies, or beginnings of their names (whole ones with --test)")
    words = parser.parse_args()
    if words.table:
        print(table(results(words.results), words.against))
        return
    if words.data is None:
        parser.error("name the folder that holds arabic-commands/ with --data or AUDIO_TOKENS_DATA")
    if words.test and not words.names:
        parser.error("--test wants the names of what is frozen: each test is a line of the log")
    place, chosen = "test" if words.test else "val", set[str]()
    for wanted in words.names or [""]:
        meant = {name for name in STUDIES if (name == wanted if words.test else name.startswith(wanted))}
        if not meant:
            parser.error(f"there is no study {wanted!r}; there are {', '.join(STUDIES)}")
        chosen |= meant
    for name in (name for name in STUDIES if name in chosen):
        done, study = {(row["name"], row["seed"], row["place"]) for row in results(words.results)}, STUDIES[name]
        if (name, words.seed, place) in done or place not in PLACES[study.sounds]:
            continue
        work = words.work / study.sounds
        work.mkdir(parents=True, exist_ok=True)
        sounds, start = Sounds(study.sounds, Path(words.data), words.work), time.perf_counter()
        row = run(name, study, words.seed, sounds, work, place)
        with words.results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{time.perf_counter() - start:.0f} s {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
