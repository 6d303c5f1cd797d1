"""What a figure was measured on: processor, versions and the settings that change speed. No path, no host name."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "torchaudio",
    "triton",
    "faiss-gpu",
    "faiss-cpu",
    "scikit-learn",
    "librosa",
    "soundfile",
    "soxr",
    "webdataset",
    "zarr",
    "transformers",
    "accelerate",
    "av",
    "torchcodec",
    "miniaudio",
)
# Variables that choose kernels or thread counts; OPENBLAS_CORETYPE, say, may hold a processor below what it can do.
SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MALLOC_ARENA_MAX",
)


def describe() -> dict[str, Any]:
    """Return the machine, the versions and the settings of this process as plain values."""
    return {
        "machine": {
            "processor": _cpuinfo("model name") or platform.processor(),
            "avx512": "avx512f" in (_cpuinfo("flags") or "").split(),
            "cores": os.cpu_count(),
            "cores_used": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        # Above the cores in use, a figure is a figure of a crowded machine.
        "load": round(os.getloadavg()[0], 2),
    }


def threads() -> dict[str, int]:
    """Return the threads that each numeric library loaded so far would use, say {"openblas": 1, "openmp": 1}."""
    pools: dict[str, int] = {}
    for pool in threadpool_info():
        pools[pool["internal_api"]] = max(pool["num_threads"], pools.get(pool["internal_api"], 0))
    return pools


def _cpuinfo(field: str) -> str | None:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit measured, with a + where files differ from it; None outside a checkout."""
    root = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], cwd=root, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "") if commit.returncode == 0 else None
