"""What of a report is seen and heard: clips through their tokens, the tokens of a codebook, sound out of the source.

S samples, T frames, F mel bands, P positions, Q streams, K tokens, C clips, L labels.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audio_tokens.engine.codebook.own_level import decode_at_level_of
from audio_tokens.engine.codebook.slices import window_starts
from audio_tokens.engine.codebook.token_quality import entropy_bits
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.decode import resample
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.sound.resynthesis import mel_to_wave
from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
from audio_tokens.errors import ClipError, UserError
from audio_tokens.jobs.display.report.facts import ClipView, CodebookView, Judged, OverTime, Played, TokenView
from audio_tokens.jobs.inputs.front_end import decoded
from audio_tokens.jobs.inputs.mel_lanes import mel_of
from audio_tokens.seeds import generator
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.clip import Clip
from audio_tokens.shards.sources.registry import open_source
from audio_tokens.shards.tokens.token_store import TokenStore

LISTENED = 150  # clips, of all places, that are searched for snippets
MOST_S = 20.0  # seconds of a clip that are put into the page
MOST_LOOKED_THROUGH = 50_000  # clips of a source, in search of some
READ_WHOLE = ("audioset", "wds", "hf")  # sources that are read front to back: hours for a handful of clips
TOKENS_SHOWN, SNIPPETS, LABELS_SHOWN = 36, 3, 2
SNIPPET_S = 0.2  # at least, so that there is something to hear
PARTS, PART = 25, 4  # a clip is tagged once more in so many parts, each a quarter of it, which overlap
LABELS_OVER_TIME = 4
STANDS_OUT = 1.3  # times as often as over all clips


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A stored clip: its mel, and its sound where the source still gives it."""

    mel_TF: np.ndarray
    seconds: float
    sound: Played | None


def samples_of(dataset: Dataset, keys: Collection[str]) -> tuple[dict[str, Sample], str | None]:
    """Return the clips of these keys and LISTENED others, and a word where their sound could not be read again."""
    every = max(1, dataset.clips // LISTENED)
    found: dict[str, Sample] = {}
    for number, key in enumerate(dataset.table.keys):
        if key in keys or number % every == 0:
            sample = dataset.clip(number)
            mel_TF, seconds = sample.array_TF.astype(np.float32), float(sample.meta["seconds"])
            found[key] = Sample(mel_TF=mel_TF, seconds=seconds, sound=None)
    source, mel = dataset.manifest["build"]["source"], MelConfig.from_dict(mel_of(dataset))
    try:
        sounds = dict(_sounds(source, found, mel))
    except (UserError, OSError) as error:
        return found, f"No sound to play: the source {source} cannot be read again ({' '.join(str(error).split())})."
    missing = len(found) - len(sounds)
    note = (
        f"No sound to play for {missing} of {len(found)} clips: the source {source} was not searched for them, "
        "or gives them no longer."
    )
    return {key: replace(sample, sound=sounds.get(key)) for key, sample in found.items()}, note if missing else None


def _sounds(spec: str, keys: Collection[str], mel: MelConfig) -> Iterator[tuple[str, Played]]:
    if spec.partition(":")[0] in READ_WHOLE:
        return
    source, left, looked = open_source(spec), set(keys), 0
    for task in source.tasks():
        for clip in source.clips(task):
            looked += 1
            if not left or looked > MOST_LOOKED_THROUGH:
                return
            if isinstance(clip, Clip) and clip.key in left:
                left.remove(clip.key)
                try:
                    wave_S, own_hz = decoded(clip.sound(), clip, mel.channels)
                except (ClipError, OSError):
                    continue
                wave_S = wave_S[: round(MOST_S * own_hz)]
                yield clip.key, Played(wave_S=resample(wave_S, own_hz, mel.rate_hz), rate_hz=mel.rate_hz)


def clip_view(
    tokenizer: AudioTokenizer, simple: AudioTokenizer, tagger: AudioTagger, clip: Judged, sample: Sample
) -> ClipView:
    """Return a clip from all sides; see ClipView.

    The `tokenizer` is the one beside the run of the `tagger`, `simple` the one it is held against.
    """
    mel_TF, config = sample.mel_TF, tokenizer.mel
    ids_PQ = tokenizer.encode_mel(mel_TF)
    decoded_TF = decode_at_level_of(tokenizer, mel_TF, ids_PQ)
    rng = generator(0, f"report {clip.key}")
    drawn_PQ = np.stack(
        [
            rng.choice(len(stream.usage_K), size=len(ids_PQ), p=stream.usage_K / stream.usage_K.sum())
            for stream in tokenizer.codebook.streams
        ],
        axis=1,
    )
    random_TF = decode_at_level_of(tokenizer, mel_TF, drawn_PQ)
    simple_TF = decode_at_level_of(simple, mel_TF, simple.encode_mel(mel_TF))
    level = None if sample.sound is None else float(np.sqrt(np.mean(np.square(sample.sound.wave_S))))
    try:
        kept_TF = decoded_TF[: round(MOST_S * config.rate_hz / config.hop_samples)]
        heard = Played(wave_S=mel_to_wave(kept_TF, config, level), rate_hz=config.rate_hz)
    except UserError:  # a front end that cannot be turned back
        heard = None
    return ClipView(
        judged=replace(clip, sound=sample.sound),
        mel_TF=mel_TF,
        decoded_TF=decoded_TF,
        ids_PQ=ids_PQ,
        seconds=sample.seconds,
        resynthesis=heard,
        over_time=_over_time(tagger, clip, sample),
        error_db=_rms(decoded_TF - mel_TF),
        simple_error_db=_rms(simple_TF - mel_TF),
        random_error_db=_rms(random_TF - mel_TF),
    )


def _over_time(tagger: AudioTagger, clip: Judged, sample: Sample) -> OverTime:
    """Return what is said of parts of a clip about its own labels, then about those ranked highest for it all."""
    frames = len(sample.mel_TF)
    part = max(1, frames // PART)
    starts_W = np.unique(np.linspace(0, frames - part, PARTS).round().astype(int))
    scores_WL = tagger.probabilities([sample.mel_TF[start : start + part] for start in starts_W.tolist()])
    labels = [*dict.fromkeys([*clip.labels, *(label for label, _ in clip.said)])][:LABELS_OVER_TIME]
    frame_s = sample.seconds / frames
    return OverTime(
        starts_s_W=starts_W * frame_s,
        part_s=part * frame_s,
        scores={label: scores_WL[:, tagger.labels.index(label)] for label in labels},
    )


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def codebook_views(
    name: str, tokenizer: AudioTokenizer, tokens: Path, samples: Mapping[str, Sample]
) -> list[CodebookView]:
    """Return a view a stream: its most used tokens by pitch, with snippets out of `samples`."""
    book = tokenizer.codebook
    lifts = _label_lifts(TokenStore.open(tokens)) if (tokens / "zarr.json").is_file() else None
    views = []
    for index, stream in enumerate(book.streams):
        patches_KTF = stream.patches_KM.reshape(len(stream.patches_KM), book.slices.contexts[index], -1)
        shown = np.argsort(-stream.usage_K, kind="stable")[:TOKENS_SHOWN]
        snippets = _snippets(tokenizer, index, set(shown.tolist()), list(samples.values()))
        found = [
            TokenView(
                token=token,
                patch_TF=patches_KTF[token],
                usage=int(stream.usage_K[token]),
                centre_band=_centre_band(patches_KTF[token]),
                labels=lifts[index].get(token, ()) if lifts else (),
                snippets=snippets.get(token, ()),
            )
            for token in shown.tolist()
        ]
        views.append(
            CodebookView(
                name=name if len(book.streams) == 1 else f"{name}, stream {index + 1}",
                tokens=len(stream.usage_K),
                used=int((stream.usage_K > 0).sum()),
                perplexity=2 ** entropy_bits(stream.usage_K),
                usage_K=stream.usage_K,
                shown=sorted(found, key=lambda view: (view.centre_band, view.token)),
            )
        )
    return views


def _centre_band(patch_TF: np.ndarray) -> float:
    """Return the centre of a patch's energy over its own floor, as a band."""
    weight_F = patch_TF.mean(axis=0) - patch_TF.mean(axis=0).min()
    return float((weight_F * np.arange(len(weight_F))).sum() / max(float(weight_F.sum()), 1e-9))


def _label_lifts(store: TokenStore, most_clips: int = 5000) -> list[dict[int, list[tuple[str, float]]]]:
    """Return, a stream, the labels in whose clips each token stands out, and how many times as often as over all."""
    group = store.group(store.places[0])
    clips = min(len(group.keys), most_clips)
    lengths_C, label_counts_C = np.diff(group.offsets[: clips + 1]), np.diff(group.label_offsets[: clips + 1])
    clip_of_label = np.repeat(np.arange(clips), label_counts_C)
    label_ids = group.label_ids[: group.label_offsets[clips]]
    found = []
    for stream, size in enumerate(store.vocab_sizes):
        counts_CK = np.zeros((clips, size), np.float32)
        np.add.at(counts_CK, (np.repeat(np.arange(clips), lengths_C), group.ids_PQ[: group.offsets[clips], stream]), 1)
        counts_LK = np.zeros((len(store.labels), size))
        np.add.at(counts_LK, label_ids, counts_CK[clip_of_label])
        all_K = np.maximum(counts_CK.sum(axis=0), 1) / max(1, counts_CK.sum())
        lift_LK = counts_LK / np.maximum(counts_LK.sum(axis=1, keepdims=True), 1) / all_K
        order_LK = np.argsort(-lift_LK, axis=0, kind="stable")[:LABELS_SHOWN]
        found.append(
            {
                token: [
                    (store.labels[label], float(lift_LK[label, token]))
                    for label in order_LK[:, token].tolist()
                    if lift_LK[label, token] >= STANDS_OUT
                ]
                for token in range(size)
            }
        )
    return found


def _snippets(
    tokenizer: AudioTokenizer, stream: int, wanted: set[int], samples: Sequence[Sample]
) -> dict[int, list[Played]]:
    """Return the sound at the positions nearest to their centroids, at most SNIPPETS a token and one a clip."""
    slices, config = tokenizer.codebook.slices, tokenizer.mel
    nearest: dict[int, list[tuple[float, int, int]]] = {}
    for clip, sample in enumerate(samples):
        if sample.sound is None:
            continue
        step = tokenizer.quantizer.walk([tokenizer.quantizer.prepare(sample.mel_TF)])[stream]
        far_P = np.linalg.norm(step.x_ND - tokenizer.codebook.streams[stream].centroids_KD[step.ids_N], axis=1)
        for token in wanted.intersection(step.ids_N.tolist()):
            here = np.flatnonzero(step.ids_N == token)
            best = int(here[far_P[here].argmin()])
            nearest.setdefault(token, []).append((float(far_P[best]), clip, best))
    half_s = max(SNIPPET_S, slices.contexts[stream] * config.hop_samples / config.rate_hz) / 2
    found: dict[int, list[Played]] = {}
    for token, places in nearest.items():
        for _, clip, position in sorted(places)[:SNIPPETS]:
            sound = samples[clip].sound
            assert sound is not None
            first_frame = int(window_starts(position + 1, slices, stream)[position])
            middle_s = (first_frame + slices.contexts[stream] / 2) * config.hop_samples / config.rate_hz
            found.setdefault(token, []).append(_cut(sound, middle_s - half_s, middle_s + half_s))
    return found


def _cut(sound: Played, start_s: float, end_s: float) -> Played:
    """Return a part of a sound, moved where it would not lie within it, faded over 5 ms so that no cut is heard."""
    samples = round((end_s - start_s) * sound.rate_hz)
    first = max(0, min(round(start_s * sound.rate_hz), len(sound.wave_S) - samples))
    part_S = sound.wave_S[first : first + samples].copy()
    fade = min(round(0.005 * sound.rate_hz), len(part_S) // 2)
    part_S[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    part_S[len(part_S) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return replace(sound, wave_S=part_S)
