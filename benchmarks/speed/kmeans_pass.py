"""One exact k-means pass over a stream of mel shards beside a bare search of the same data in memory.

Expected before measuring, one core, soundscapes, default recipe (k=500, D about 100 of 256 after whitening): against a
search of vectors that lie ready in memory 1.6 to 1.9 times at k=500 and 1.1 times at k=5000, because whitening counts
too (a product of 256 x D beside the search's D x K); the update (sums and counts) 5 to 10 % of the pass.
Measured, D is 176: whitening alone is half a search at k=500, so that the arithmetic of a pass is 1 + 256 / 500 = 1.51
searches of ready vectors, and the bar against those is out of reach there. (Folding whitening into the centroids saves
nothing: a product of 256 x K takes as long as both, and the lengths of the vectors would still want the whitening.) It
stays here to be seen, beside its floor; against a search that starts from the same mel in memory (transform, then
search) it holds. Expected of one gather a block, one centring a clip and no copy of float16: 2.0 becomes 1.85.
N vectors, D dimensions, K centroids.
"""

from collections.abc import Iterator

import numpy as np

from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.kmeans.problem import sum_by_id
from audio_tokens.engine.codebook.nearest.search import best_nearest
from audio_tokens.engine.codebook.quantizer import Quantizer
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.jobs.inputs.mel_lanes import MelLanes
from benchmarks.harness import FLOOR, Report
from benchmarks.inputs.mel_shards import soundscape_shards

CLUSTERS = (500, 5000)
SEARCH = FLOOR + "search"
FROM_MEL = "transform and search"


def bench(report: Report) -> None:
    clips = 200 if report.quick else 800
    dataset = soundscape_shards(report.folder / "shards", clips=clips, clip_s=10)
    for clusters in CLUSTERS[:1] if report.quick else CLUSTERS:
        config = KMeansConfig(clusters=(clusters,), batch_epochs=0, sample_per_centroid=4)
        shards = dataset.shards_of("train")
        lanes = MelLanes(dataset, shards, lanes=config.lanes, block_clips=config.block_clips, seed=0)
        fit = CodebookFit(lanes, dataset.producer["mel"], SliceConfig(), config)
        _race(report, fit, clusters)


def _race(report: Report, fit: CodebookFit, clusters: int) -> None:
    start = next(fit.checkpoints())  # whitened, with its first centroids: what follows is one exact pass
    assert start.kmeans is not None
    quantizer = Quantizer(fit.slices, fit.config.metric, None, ())

    def mels() -> Iterator[list[np.ndarray]]:
        for lane in range(fit.mels.lanes):
            yield from fit.mels.blocks(lane, 0)

    def vectors(block: list[np.ndarray]) -> np.ndarray:
        return quantizer.next_vectors([quantizer.prepare(mel_TF) for mel_TF in block], start.whitening)

    in_memory = [[mel_TF.copy() for mel_TF in block] for block in mels()]
    blocks = [vectors(block) for block in in_memory]
    nearest = best_nearest(fit.config.metric)(start.kmeans.centroids(fit.config.metric))
    ids = [nearest(x_ND)[0] for x_ND in blocks]
    x_ND = np.concatenate(blocks)

    contenders = {
        "one pass": lambda: next(fit.checkpoints(start)),
        SEARCH: lambda: nearest(x_ND),
        FROM_MEL: lambda: [nearest(vectors(block)) for block in in_memory],
        "part: read": lambda: sum(len(mel_TF.copy()) for block in mels() for mel_TF in block),
        "part: transform": lambda: [vectors(block) for block in in_memory],
        "part: update": lambda: [sum_by_id(x_ND, ids_N, clusters) for x_ND, ids_N in zip(blocks, ids, strict=True)],
    }
    case = f"k={clusters}, {len(x_ND):,} vectors of {x_ND.shape[1]} dimensions"
    race = report.race(case, contenders, work=len(x_ND), unit="vectors", rounds=5)
    assert start.whitening is not None
    stacked = len(start.whitening.mean_D)  # whitening: stacked x D products a vector; search: D x K
    report.figures("arithmetic of a pass", over_search_of_ready_vectors=1 + stacked / clusters)
    report.bar(
        f"k={clusters}: a streamed pass over a search from the same mel in memory", race.over(FROM_MEL), at_most=1.3
    )
    report.bar(f"k={clusters}: a streamed pass over a search of ready vectors", race.over(SEARCH), at_most=1.3)
    report.bar(f"k={clusters}: the update's share of a pass", race.ratio("part: update", "one pass"), at_most=0.15)
