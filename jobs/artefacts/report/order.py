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
    """Return the best group that reads order, and the bag of the same recipe; None where one of them is missing."""
    bags = {group.recipe: group for group in groups if group.system == BAG}
    pairs = ((group, bags[group.recipe]) for group in groups if group.system in ORDERED and group.recipe in bags)
    return next(pairs, None)


def clips_that_gain(
    sequence: RunGroup, bag: RunGroup, classes: Sequence[ClassRow]
) -> list[tuple[FinishedRun, Judged, str, float]]:
    """Return, of each label that gains most, the tested clip whose score gains most.

    As (run of `sequence`, clip, label, the bag's probability of it).
    """
    gains = {row.label: row.ap[sequence.name] - row.ap[bag.name] for row in classes if len(row.ap) > 1}
    clips, found = {clip.key: (run, clip) for run, clip in judged(sequence)}, []
    for label in sorted(gains, key=lambda label: (-gains[label], label))[:EXAMPLES]:
        best: tuple[float, str, float] | None = None
        for run, counted in zip(sequence.first_seed, bag.first_seed, strict=True):
            read, other = run.predictions, counted.predictions.in_order_of(run.predictions)
            column = read.labels.index(label)
            mine_C, theirs_C = run.probabilities_of(read)[:, column], counted.probabilities_of(other)[:, column]
            for clip in np.flatnonzero(read.targets_CL[:, column]).tolist():
                gain = float(mine_C[clip] - theirs_C[clip])
                if best is None or gain > best[0]:
                    best = gain, read.keys[clip], float(theirs_C[clip])
        if best is not None and best[0] > 0:
            found.append((*clips[best[1]], label, best[2]))
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
