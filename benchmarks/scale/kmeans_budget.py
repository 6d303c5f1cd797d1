"""What k-means loses by a budget of vectors and by ending early, and how long a fit to two million clips then takes.

The full schedule reads all vectors in two epochs of mini-batches and 20 exact passes. Against it, by seed, as the mean
distance of all vectors to their nearest centroids (searched outside of the time): the recipe's own defaults, and
budgets of fewer vectors a centroid. The default budget is 8,000 vectors a centroid at k=500 and 800 at k=5000, more
than these sets hold; so what it loses at k=5000 is what 800 a centroid lose at k=500.

Expected before measuring: the defaults 0.2 to 0.4 % above the full schedule, for their tolerance; 800 vectors a
centroid 0.2 % more, 200 about 1 %; on one core a fit to two million clips at k=500 within the hour, of which the last
reading of all 0.43 G positions, which counts and portrays, is three quarters; at k=5000 two to three hours.
N vectors, D dimensions.
"""

import time
from dataclasses import replace

import numpy as np

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.kmeans.problem import KMeansState, Problem
from audio_tokens.engine.codebook.kmeans.streamed_kmeans import states
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.engine.sound.mel_config import MelConfig
from benchmarks.harness import Report
from benchmarks.inputs import sounds
from benchmarks.speed.kmeans_quality import ClipLanes, whitened

SEEDS = (0, 1, 2)
A_CENTROID = (200, 800)  # vectors of the smaller budgets, at k=500
SOUNDSCAPES = 1200  # clips of 10 s, 258,000 vectors
MILLIONS = 2_000_000 * 215  # positions of AudioSet by the default recipe
FEED_S = 2.3e-6  # a position, from shard to whitened vector: bench kmeans-pass


def bench(report: Report) -> None:
    rate_hz = MelConfig().rate_hz
    sets = {
        "soundscapes": sounds.soundscapes(120 if report.quick else SOUNDSCAPES, seconds=10, rate_hz=rate_hz),
        "ESC-10": sounds.esc10(40 if report.quick else 400, rate_hz=rate_hz),
    }
    for name, waves in sets.items():
        clips = whitened(waves) if waves else []
        for clusters in (50,) if report.quick else (500, 5000):
            if clips:
                _compare(report, name, clips, clusters)


def _compare(report: Report, name: str, clips: list[np.ndarray], clusters: int) -> None:
    x_ND, nearest = np.concatenate(clips), best_nearest("cosine")
    default = KMeansConfig(clusters=(clusters,))
    configs = {
        "full": replace(default, budget_vectors=0, tolerance=0.0),
        "default": default,
    }
    if clusters <= 500:
        configs |= {f"{few} a centroid": replace(default, budget_vectors=few * clusters) for few in A_CENTROID}
    print(f"\n{name}, k={clusters}, {len(x_ND):,} vectors of {x_ND.shape[1]} dimensions")
    over: dict[str, list[float]] = {each: [] for each in configs}
    for seed in SEEDS[:1] if report.quick else SEEDS:
        far = {}
        for each, config in configs.items():
            if config.budget_vectors > len(x_ND) and each != "default":
                continue
            start = time.process_time()
            last = _fitted(clips, clusters, config, seed)
            seconds = time.process_time() - start
            start = time.process_time()
            far[each] = float(nearest(last.centroids("cosine"))(x_ND)[1].mean(dtype=np.float64))
            search_s = (time.process_time() - start) / len(x_ND)
            over[each].append(far[each] / far["full"] - 1)
            report.figures(
                f"{name}, k={clusters}, seed {seed}, {each}",
                distance=far[each],
                over_full=over[each][-1],
                passes=len(last.history),
                cpu_s=seconds,
            )
    report.bar(
        f"{name}, k={clusters}: % of distance over the full schedule's, the worst seed",
        100 * max(over["default"]),
        at_most=0.5,
    )
    passes, epochs = default.passes, default.batch_epochs + 2  # the survey and the start read the budget too
    fit_s = default.budget_vectors * (passes + epochs) * (FEED_S + search_s)
    whole_s = MILLIONS * (FEED_S + search_s)
    report.figures(f"two million clips, k={clusters}, one core", at_most_fit_h=fit_s / 3600, last_pass_h=whole_s / 3600)
    if clusters <= 500 and not report.quick:
        report.bar(f"{name}, k={clusters}: hours for two million clips", (fit_s + whole_s) / 3600, at_most=2.0)


def _fitted(clips: list[np.ndarray], clusters: int, config: KMeansConfig, seed: int) -> KMeansState:
    *_, last = states(Problem(ClipLanes(clips, config), clusters, config, seed))
    return last
