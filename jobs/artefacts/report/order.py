"""What reading tokens in order gives beside counting them: for which labels, and where in a clip it comes from.

T frames, C clips, L labels, V a whole clip and its W versions without a part, P positions, Q streams.
"""

from collections.abc import Sequence

import numpy as np

from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
from audio_tokens.jobs.artefacts.report.runs import FinishedRun, RunGroup, judged
from audio_tokens.jobs.artefacts.report.sounds import Sample
from audio_tokens.jobs.display.report.facts import ClassRow, Evidence, Judged

BAG = "token-bag"
ORDERED = ("token-lstm", "token-bert", "token-rocket")
EXAMPLES = 3  # labels that gain most, a clip of each
PARTS, PART = 24, 8  # a clip is read again without each of so many parts, an eighth of it each
LEAST = 1e-6  # probability below which log odds say nothing more


def order_pair(groups: Sequence[RunGroup]) -> tuple[RunGroup, RunGroup] | None:
    """Return the best group that reads order, and the bag of its recipe, tested on the same clips; None without."""
    bags = {group.recipe: group for group in groups if group.system == BAG}
    pairs = ((group, bags[group.recipe]) for group in groups if group.system in ORDERED and group.recipe in bags)
    return next((pair for pair in pairs if _tested(pair[0]) == _tested(pair[1])), None)


def _tested(group: RunGroup) -> list[tuple[int | None, list[str], list[str]]]:
    """Return fold, labels and clips of every run of the first seed."""
    return [(run.fold, run.predictions.labels, sorted(run.predictions.keys)) for run in group.first_seed]


def clips_that_gain(
    sequence: RunGroup, bag: RunGroup, classes: Sequence[ClassRow]
) -> list[tuple[FinishedRun, Judged, str, float]]:
    """Return, of each label that gains most, the tested clip whose score gains most.

    As (run of `sequence`, clip, label, the bag's probability of it).
    """
    gains = {row.label: gain for row in classes if (gain := row.gain(sequence.name, bag.name)) is not None}
    judged_by = {clip.key: (run, clip) for run, clip in judged(sequence)}
    keys, labels = [], sequence.runs[0].predictions.labels
    parts: list[tuple[np.ndarray, ...]] = []
    for run, counted in zip(sequence.first_seed, bag.first_seed, strict=True):
        told = run.predictions
        keys += told.keys
        counts_CL = counted.probabilities_of(counted.predictions.in_order_of(told))
        parts.append((run.probabilities_of(told), counts_CL, told.targets_CL))
    read_CL, counted_CL, targets_CL = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    gain_CL = np.where(targets_CL, read_CL - counted_CL, 0.0)
    found = []
    for label in sorted(gains, key=lambda label: (-gains[label], label))[:EXAMPLES]:
        column = labels.index(label)
        clip = int(gain_CL[:, column].argmax())
        if gain_CL[clip, column] > 0:
            found.append((*judged_by[keys[clip]], label, float(counted_CL[clip, column])))
    return found


def evidence(tagger: AudioTagger, clip: Judged, label: str, bag: float, sample: Sample) -> Evidence:
    """Return what each part of a clip adds to the log odds of `label`."""
    starts_W, positions, scores_VL = tagger.without_parts(sample.mel_TF, PARTS, PART)
    odds_V = _log_odds(scores_VL[:, tagger.labels.index(label)])
    assert tagger.tokenizer is not None
    ids_PQ = tagger.tokenizer.encode_mel(sample.mel_TF)
    position_s = sample.seconds / len(ids_PQ)
    return Evidence(
        label=label,
        judged=clip,
        mel_TF=sample.mel_TF,
        ids_PQ=ids_PQ,
        seconds=sample.seconds,
        starts_s_W=starts_W * position_s,
        part_s=positions * position_s,
        adds_W=odds_V[0] - odds_V[1:],
        sequence=float(scores_VL[0, tagger.labels.index(label)]),
        bag=bag,
    )


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    within = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return np.log(within / (1 - within))
