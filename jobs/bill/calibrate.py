"""Rates of this machine: every stage on two sizes of soundscapes, each in a process of its own, on one core.

What does not grow with the clips (imports, opening) and what does are told apart by least squares that know no negative
cost. An evaluation takes microseconds a clip, which would be lost in the tenth of a second by which one start differs
from another: it is done again in the same process. C runs of a stage, U kinds of units.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.bill.in_turn import command_of, turns_of
from audio_tokens.jobs.bill.stage_rates import Rates, StageRates
from audio_tokens.jobs.bill.work import STAGES, Work

EPOCHS = 2  # of each training that is measured
LESS = 4  # the small set has a quarter of the clips, and once k-means is fitted to a quarter of the vectors
LEAST_CLIPS = 400
AGAIN = {"evaluate": 4}  # times


@dataclass(frozen=True)
class Measured:
    """One run of a stage: its work, what it took, what it left on the disk, and whether a process began with it."""

    work: Work
    seconds: float
    gb: float
    written_bytes: int
    began: bool = True


def calibrate(clips: int, clip_s: float, say: Callable[[str], None]) -> Rates:
    """Return the rates of this machine, from runs on `clips` clips and on a quarter of them.

    Takes about as long as 1.5 runs on `clips` clips; nothing else should be at work. Raises UserError for too few.
    """
    if clips < LEAST_CLIPS:
        raise UserError(f"--calibrate {clips}: on fewer than {LEAST_CLIPS} clips there is little but start-up to see")
    found: dict[str, list[Measured]] = {stage: [] for stage in STAGES}
    positions_s = MelConfig().rate_hz / MelConfig().hop_samples / SliceConfig().stride
    with tempfile.TemporaryDirectory(prefix="audio-tokens-plan-") as folder:
        for number in (clips // LESS, clips):
            at = Path(folder) / str(number)
            every = Work(clips=number, clip_s=clip_s, positions_s=positions_s, budget=0, epochs=EPOCHS)
            few = Work(
                clips=number, clip_s=clip_s, positions_s=positions_s, budget=int(every.positions) // LESS, epochs=EPOCHS
            )
            source = f"soundscapes:{number},clip_s={clip_s:g}"
            for stage, work, words, out in commands(source, at, every, few, whole=number == clips):
                found[stage] += (runs := _measure([words] * (1 + AGAIN.get(stage, 0)), work, out))
                say(f"{number} clips, {stage}: {runs[0].seconds:.1f} s")
            shutil.rmtree(at)
    return Rates(
        machine=machine(),
        recipe={
            "clusters": list(KMeansConfig().clusters),
            "positions_s": positions_s,
            "budget_vectors": KMeansConfig().budget_vectors,
            "calibrated_on": [clips // LESS, clips],
        },
        stages={stage: rates_of(stage, runs) for stage, runs in found.items()},
    )


def commands(source: str, at: Path, every: Work, few: Work, *, whole: bool) -> list[tuple[str, Work, list[str], Path]]:
    """Return the runs on one set: stage, work, command line, what it writes."""
    shards, codebook, tokens = at / "shards", at / "codebook", at / "tokens.zarr"
    lines = [
        ("build", every, f"build --source {source} --out {shards} --workers 1", shards),
        (
            "cluster",
            every,
            f"cluster --shards {shards} --out {codebook} --recipe.kmeans.budget_vectors 0",
            codebook,
        ),
        (
            "encode",
            every,
            f"encode --shards {shards} --codebook {codebook} --out {tokens} --workers 1",
            tokens,
        ),
    ]
    if whole:
        words = f"cluster --shards {shards} --out {at / 'few'} --recipe.kmeans.budget_vectors {few.budget}"
        lines.append(("cluster", few, words, at / "few"))
    for system in (stage.removeprefix("train ") for stage in STAGES if stage.startswith("train ")):
        words = f"train --tokens {tokens} --system {system} --out {at / system} --options.epochs {EPOCHS}"
        lines.append((f"train {system}", every, words, at / system))
    # evaluated where most clips are
    words = f"evaluate --run {at / 'token-linear'} --split train --replicates 1 --json"
    lines.append(("evaluate", every, words, at / "nothing"))
    return [(stage, work, line.split(), out) for stage, work, line, out in lines]


def _measure(lines: list[list[str]], work: Work, out: Path) -> list[Measured]:
    """Run command lines of equal work one after the other on one core. Raises UserError where one fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command_of(lines), stdout=printed, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # else Popen takes it for one that still runs
        for file in (printed, log):
            file.seek(0)
        if process.returncode:
            raise UserError(f"audio-tokens {' '.join(lines[0])} failed: {' '.join(log.read().split())[-300:]}")
        again_s = [turn.elapsed_s for turn in turns_of(printed.read())][1:]
    written = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) if out.exists() else 0
    first = Measured(work, seconds - sum(again_s), usage.ru_maxrss * 1024 / 1e9, written)
    return [first, *(replace(first, seconds=each_s, began=False) for each_s in again_s)]


def rates_of(stage: str, runs: list[Measured]) -> StageRates:
    """Return the rates by which the runs of a stage are told best; fixed seconds are those of a run that begins."""
    kinds = list(runs[0].work.units(stage))
    begun, again = [run for run in runs if run.began], [run for run in runs if not run.began]

    def units(runs: list[Measured]) -> np.ndarray:
        return np.array([[run.work.units(stage)[kind] for kind in kinds] for run in runs], float)

    def told(values_C: list[float], columns_CU: np.ndarray) -> list[float]:
        scale_U = columns_CU.max(axis=0)
        ones_C1 = np.ones((len(values_C), 1))
        return (nnls(np.hstack([ones_C1, columns_CU / scale_U]), values_C)[0] / np.append(1.0, scale_U)).tolist()

    _, *core_s = told([run.seconds for run in again or begun], units(again or begun))
    fixed_s = np.mean([run.seconds for run in begun] - units(begun) @ core_s)
    fixed_gb, gb = told([run.gb for run in begun], np.array([[float(run.work.clips)] for run in begun]))
    _, *written = told([float(run.written_bytes) for run in begun], units(begun))
    return StageRates(
        fixed_s=max(0.0, float(fixed_s)),
        core_s=dict(zip(kinds, core_s, strict=True)),
        fixed_gb=fixed_gb,
        gb=gb,
        written_bytes=dict(zip(kinds, written, strict=True)),
    )


def machine() -> str:
    """Return what this machine is: its processor, cores and memory."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{name}, {os.cpu_count()} cores, {memory_gb:.0f} GB"
