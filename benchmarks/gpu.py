"""What one GPU does in each hot stage: `python -m benchmarks.gpu`, about 6 minutes on a card.

    python -m benchmarks.gpu [PART ...] [--device cuda|cpu] [--quick] [--out FILE]

`--device cpu --quick` is the form that CI runs. torch, transformers and accelerate are enough; FAISS is left out by
name where it is missing. Each line is written at once: a run that is cut short has told what it knew.

Expected of an H100, before any card had run it: a float32 product without TF32 reaches 50 TFLOP/s; tiles with a
running maximum write their scores to memory and read them again, so they get a fifth of that at D=64 and half at D=256;
the fused Triton kernel keeps scores in registers and, with three products of TF32 for one, gets 80 to 150 %. From
arrays of the host the copy binds: 4 D bytes a vector at 20 GB/s are 80 million vectors/s at D=64. Encoding is bound by
what the CPU does to a clip, 0.1 ms: 10,000 clips/s a process. token-bert in bf16 reaches 25 to 35 % of the card's
measured rate with 22 M parameters at 432 positions, 40 % with 86 M; waiting for batches is below 1 % of a step.
What an H200 did instead: results/gpu.md.

N vectors, D dimensions, K centroids, T positions or frames of a clip, F mel bands, C clips.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.mel_clips import MelRows
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.fit_codebook import CodebookFit
from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.nearest.faiss_search import FaissSearch
from audio_tokens.engine.codebook.nearest.protocol import Metric, Nearest, unit_length
from audio_tokens.engine.codebook.nearest.search import faiss_gpus
from audio_tokens.engine.codebook.nearest.torch_search import TILE_VECTORS, TorchNearest
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.mel_config import MEL_CONFIGS
from audio_tokens.engine.systems.options import RawCnnOptions, TokenBertOptions, TokenLstmOptions
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.world import processes
from audio_tokens.errors import did_you_mean
from audio_tokens.seeds import generator
from benchmarks.harness import FLOOR, Action, Report
from benchmarks.inputs.trainings import built, tagger_config, train
from benchmarks.speed.batches import token_rows
from benchmarks.studies.recipe_study import MemoryLanes

RESULTS = Path(__file__).parent / "results" / "gpu.jsonl"
PRODUCT = FLOOR + "matrix product"


@dataclass(frozen=True)
class Bench:
    """Where figures go, and which device they are of."""

    report: Report
    device: torch.device

    @property
    def quick(self) -> bool:
        return self.report.quick

    def timed(self, action: Callable[[], object]) -> Action:
        """Return `action`, ended only when the device has finished it."""

        def finished() -> None:
            action()
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        return finished

    def rate(self, dtype: torch.dtype) -> float:
        """Return the TFLOP/s of a large square product: what the card reaches, not what its data sheet says."""
        size = 512 if self.quick else 8192
        a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        product_of = self.timed(lambda: a @ b)
        product_of()
        start = time.perf_counter()
        rounds = 3 if self.quick else 20
        for _ in range(rounds):
            product_of()
        return 2 * size**3 * rounds / (time.perf_counter() - start) / 1e12


def search(bench: Bench) -> None:
    """The nearest of K centroids: the fused kernel, tiles of torch, FAISS, from the device and from the host."""
    peak = bench.rate(torch.float32)
    bench.report.figures("float32 product, TF32 off", tflops=peak)
    sizes = [(50, 16)] if bench.quick else product((500, 5_000, 20_000), (64, 128, 256))
    for clusters, dims in sizes:
        _search(bench, peak, clusters, dims)


def _search(bench: Bench, peak: float, clusters: int, dims: int) -> None:
    vectors = 4_096 if bench.quick else min(2_000_000, 4_000_000_000 // clusters)
    rng = generator(0, "bench gpu search")
    x_ND = unit_length(rng.standard_normal((vectors, dims), np.float32))
    centroids_KD = unit_length(rng.standard_normal((clusters, dims), np.float32))
    ours = TorchNearest(centroids_KD, "cosine", bench.device)
    tiled = TorchNearest(centroids_KD, "cosine", bench.device, fused=False)
    there_ND, there_KD = (torch.from_numpy(array).to(bench.device) for array in (x_ND, centroids_KD))
    contenders: dict[str, Action] = {
        "ours, on the device": bench.timed(lambda: ours.best(there_ND)),
        "tiles, on the device": bench.timed(lambda: tiled.best(there_ND)),
        "ours, from the host": bench.timed(lambda: ours(x_ND)),
    }
    found = {"ours": ours(x_ND)[0], "tiles": tiled(x_ND)[0]}
    faiss = _faiss(bench, centroids_KD)
    if faiss is not None:
        contenders["FAISS, from the host"] = partial(faiss, x_ND)
        found["FAISS"] = faiss(x_ND)[0]
    contenders[PRODUCT] = bench.timed(lambda: [part @ there_KD.T for part in there_ND.split(TILE_VECTORS)])
    case = f"search k={clusters}, d={dims}"
    race = bench.report.race(case, contenders, work=vectors, unit="vectors", rounds=5)
    tflop = 2 * vectors * clusters * dims / 1e12
    for name in contenders:
        tflops = tflop / race.median_s(name)
        bench.report.figures(f"{case}: {name}", tflops=tflops, share_of_measured_rate=tflops / peak)
    for name, ids_N in found.items():
        same = float(np.mean(ids_N == found["tiles"]))
        bench.report.bar(f"{case}: {name} finds the centroids that float32 products find", same, at_least=0.9999)


def _faiss(bench: Bench, centroids_KD: np.ndarray) -> Nearest | None:
    if not importlib.util.find_spec("faiss"):
        bench.report.figures("left out", faiss="not installed")
        return None
    if bench.device.type == "cuda" and not faiss_gpus():
        bench.report.figures("left out", faiss="sees no GPU")
        return None
    return FaissSearch("cosine", 0 if bench.device.type == "cuda" else None)(centroids_KD)


def kmeans_and_encode(bench: Bench) -> None:
    """A codebook of mel by the default recipe, and tokens of mel that is stored in 8 bits."""
    clips, frames, bands = (24, 60, 64) if bench.quick else (2_000, 430, 64)
    mels = _mels(clips, frames, bands)
    low_dB, step_dB = -100.0, 100 / 255
    stored = [np.clip((mel_TF - low_dB) / step_dB, 0, 255).astype(np.uint8) for mel_TF in mels[:384]]
    blocks = [stored[first : first + 32] for first in range(0, len(stored), 32)]

    def encode(tokenizer: AudioTokenizer, top: int) -> None:
        for block in blocks:
            tokenizer.encode_mels([mel_TF * np.float32(step_dB) + np.float32(low_dB) for mel_TF in block], top)

    for clusters in (20,) if bench.quick else (500, 5_000):
        codebook = _codebook(bench, mels, clusters)
        places: list[tuple[str, int | None]] = [("CPU", None), ("GPU", 0)]
        tokenizers = {name: AudioTokenizer(codebook, at) for name, at in places[: 1 + (bench.device.type == "cuda")]}
        for name, made in tokenizers.items():
            pairs = zip(made.encode_mels(mels[:32]), tokenizers["CPU"].encode_mels(mels[:32]), strict=True)
            same = float(np.mean([np.mean(one.ids_PQ == other.ids_PQ) for one, other in pairs]))
            bench.report.bar(f"k={clusters}: tokens of the {name} equal to the CPU's", same, at_least=0.999)
        for top in (1, 4):
            contenders = {f"on the {name}": partial(encode, made, top) for name, made in tokenizers.items()}
            case = f"encode from uint8 mel, k={clusters}, the nearest {top}"
            bench.report.race(case, contenders, work=len(stored), unit="clips", rounds=3, round_s=0)


def _codebook(bench: Bench, mels: list[np.ndarray], clusters: int) -> Codebook:
    """Fit a codebook by the default recipe with torch's search, and where FAISS is there with that."""
    config = KMeansConfig(clusters=(clusters,), chunk_vectors=64 if bench.quick else 8_192)
    mel = MEL_CONFIGS["mel22k"].to_dict()
    searches: dict[str, Callable[[Metric], Callable[[np.ndarray], Nearest]]] = {
        "torch": lambda metric: partial(TorchNearest, metric=metric, device=bench.device)
    }
    if importlib.util.find_spec("faiss") and faiss_gpus():
        searches["FAISS"] = lambda metric: FaissSearch(metric, 0)
    for name, make_nearest in searches.items():
        fit = CodebookFit(MemoryLanes(mels, 0), mel, SliceConfig(), config, make_nearest=make_nearest)
        start = time.perf_counter()
        *_, last = fit.checkpoints()
        bench.report.figures(
            f"k-means, k={clusters}, {name}", seconds=time.perf_counter() - start, clips=len(mels),
            distortion=last.history[-1]["distortion"],
        )  # fmt: skip
    return fit.codebook(last, {})


def bert(bench: Bench) -> None:
    """token-bert in bf16 at two sizes and three lengths, padded and not, as a share of the card's rate."""
    peak = bench.rate(torch.bfloat16)
    bench.report.figures("bf16 product", tflops=peak)
    sizes = {"tiny": (32, 2, 2)} if bench.quick else {"22 M": (384, 12, 6), "86 M": (768, 12, 12)}
    for (name, (width, layers, heads)), positions in product(sizes.items(), (40,) if bench.quick else (215, 432, 1024)):
        for padded in (False, True):
            batch_clips, steps = (4, 3) if bench.quick else (max(8, 27_648 // positions), 30)
            rows = token_rows(steps * batch_clips, positions, shorter_every=int(padded), shortest=positions // 2)
            clips = Clips.of(rows)
            config = TokenBertOptions(
                epochs=2, batch_clips=batch_clips, precision="bf16", width=width, layers=layers, heads=heads
            )
            seconds, parameters = _epoch_s(bench, "token-bert", clips, config)
            tokens = int(clips.lengths_C.sum())
            # forward and backward: 6 a weight and token, and 12 T a layer and hidden value for attention
            flop = tokens * (6 * parameters + 12 * layers * width * positions)
            bench.report.figures(
                f"token-bert {name}, T={positions}, {'half to full length' if padded else 'equal lengths'}",
                parameters=parameters, clips_a_second=len(clips) / seconds, tflops=flop / seconds / 1e12,
                share_of_measured_rate=flop / seconds / 1e12 / peak,
            )  # fmt: skip


def loader(bench: Bench) -> None:
    """How long a step would wait for its batch: tokens that lie on the device, and mel that the host assembles."""
    clips = Clips.of(token_rows(2_000 if bench.quick else 200_000))
    order_C = generator(0, "bench gpu order").permutation(len(clips))
    parts = order_C[: len(clips) // 64 * 64].reshape(-1, 64)[:200]
    resident = where_they_train(clips, bench.device)
    contenders = {
        "on the device": bench.timed(lambda: [resident.batch(part) for part in parts]),
        "from the host": bench.timed(lambda: [clips.batch(part).to(bench.device) for part in parts]),
    }
    bench.report.race("batches of 64 clips", contenders, work=len(parts), unit="batches", rounds=3, round_s=0)


def epochs(bench: Bench) -> None:
    """An epoch of token-lstm and one of raw-cnn."""
    tokens = Clips.of(token_rows(64 if bench.quick else 20_000))
    seconds, _ = _epoch_s(bench, "token-lstm", tokens, TokenLstmOptions(epochs=2))
    bench.report.figures("token-lstm", clips_a_second=len(tokens) / seconds)
    clips = 16 if bench.quick else 2_000
    mels = _mels(clips, 64 if bench.quick else 430, 64)
    mel_clips = Clips.of(
        MelRows(
            fetch=lambda row: mels[row], lengths_R=np.array(list(map(len, mels))), labels=token_rows(clips).labels,
            keys=[str(row) for row in range(clips)], bands=64,
        )
    )  # fmt: skip
    seconds, _ = _epoch_s(bench, "raw-cnn", mel_clips, RawCnnOptions(epochs=2), bands=64)
    bench.report.figures("raw-cnn", clips_a_second=clips / seconds)


def losses(bench: Bench) -> None:
    """The same training on the device and on the CPU, in float32: do the losses agree?"""
    here = loss_trace()
    code = "import json; from benchmarks.gpu import loss_trace; print(json.dumps(loss_trace()))"
    without = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    told = subprocess.run([sys.executable, "-c", code], env=without, stdout=subprocess.PIPE, text=True, check=True)
    on_cpu = json.loads(told.stdout.splitlines()[-1])
    worst = max(abs(a - b) / b for a, b in zip(here, on_cpu, strict=True))
    bench.report.bar("largest relative difference of an epoch's loss from the CPU's", worst, at_most=1e-3)


def loss_trace() -> list[float]:
    """Return the loss of each epoch of a small token-bert in float32, on the GPU that torch sees, else on the CPU."""
    clips = Clips.of(token_rows(128, positions=60))
    config = TokenBertOptions(epochs=4, precision="fp32", dropout=0.0, width=32, heads=2)
    with processes() as accelerator, tempfile.TemporaryDirectory() as folder:
        model = built(tagger_config("token-bert", clips, config))
        return [row["train_loss"] for row in train(model, clips, config, accelerator, Path(folder)).rows]


def _epoch_s(bench: Bench, system: str, clips: Clips, config: TrainConfig, bands: int = 0) -> tuple[float, int]:
    """Return the seconds of the second epoch (the first one warms up), and the number of parameters."""
    with processes() as accelerator, tempfile.TemporaryDirectory() as folder:
        model = built(tagger_config(system, clips, config, bands=bands))
        rows = train(model, clips, config, accelerator, Path(folder)).rows
        return rows[-1]["seconds"], sum(parameter.numel() for parameter in model.parameters())


def _mels(clips: int, frames: int, bands: int) -> list[np.ndarray]:
    """Return mel in dB that is noise around a slope: float16 [T, F] a clip."""
    rng, slope_F = generator(0, "bench gpu mel"), np.linspace(-20, -60, bands)
    return [(rng.normal(slope_F, 8, (frames, bands))).astype(np.float16) for _ in range(clips)]


PARTS = {
    "search": search,
    "kmeans": kmeans_and_encode,
    "bert": bert,
    "loader": loader,
    "epochs": epochs,
    "losses": losses,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all unless given: {', '.join(PARTS)}")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument(
        "--out", type=Path, help="the JSON lines; benchmarks/results/gpu.jsonl for a whole run on a GPU"
    )
    words = parser.parse_args(argv)
    for part in words.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}; {did_you_mean(part, PARTS)}")
    if words.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --device cpu runs the same on the CPU")
    whole_on_gpu = words.device == "cuda" and not words.quick and not words.parts
    out = words.out or (RESULTS if whole_on_gpu else Path(os.devnull))
    device = torch.device(words.device)
    with tempfile.TemporaryDirectory() as folder, out.open("w", buffering=1) as file:
        report = Report("gpu", quick=words.quick, folder=Path(folder), file=file)
        if words.device == "cuda":
            card = torch.cuda.get_device_properties(device)
            report.figures("card", name=card.name, memory_gb=card.total_memory / 1e9, cuda=torch.version.cuda)
        bench = Bench(report, device)
        for part in words.parts or PARTS:
            start = time.perf_counter()
            PARTS[part](bench)
            report.figures(f"part {part}", seconds=time.perf_counter() - start)
    return int(not report.held)


if __name__ == "__main__":
    sys.exit(main())
