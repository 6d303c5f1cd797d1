"""The GPU script's CPU form: every part runs, and its bars hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).parents[2]


def figures(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_search_and_codebook_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out = tmp_path / "gpu.jsonl"
    assert gpu.main(["search", "kmeans", "loader", "--device", "cpu", "--quick", "--out", str(out)]) == 0
    rows = figures(out)
    assert rows[0]["kind"] == "machine"
    bars = [row for row in rows if row["kind"] == "bar"]
    assert len(bars) == 4  # the search, its tiles and FAISS; tokens
    assert all(bar["holds"] for bar in bars)


def test_what_it_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["serch", "--device", "cpu"])
    assert "search" in capsys.readouterr().err


@pytest.mark.long
def test_every_part_runs_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.jsonl"
    words = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--quick", "--out", str(out)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    cases = {row["case"] for row in figures(out) if row["kind"] == "figures"}
    assert {f"part {name}" for name in gpu.PARTS} <= cases


@pytest.mark.long
def test_the_fused_kernel_finds_what_numpy_finds() -> None:
    """Triton's interpreter runs the kernel on a CPU; sizes that are no multiple of its blocks, and equal centroids."""
    pytest.importorskip("triton")
    code = """
import numpy as np, torch
from audio_tokens.engine.codebook.nearest.protocol import lowest_twin
from audio_tokens.engine.codebook.nearest.triton_search import fused_best
rng = np.random.default_rng(0)
x_ND, c_KD = rng.standard_normal((300, 45), np.float32), rng.standard_normal((150, 45), np.float32)
c_KD[77] = c_KD[3]
for half_K in (None, torch.from_numpy((c_KD**2).sum(axis=1) / 2)):
    best_N, ids_N = fused_best(torch.from_numpy(x_ND), torch.from_numpy(c_KD), half_K)
    scores_NK = x_ND @ c_KD.T - (0 if half_K is None else half_K.numpy())
    lowest_K = lowest_twin(c_KD)  # as the search says which of equal ones it is
    assert (lowest_K[ids_N.numpy()] == lowest_K[scores_NK.argmax(axis=1)]).all()
    assert np.abs(best_N.numpy() - scores_NK.max(axis=1)).max() < 1e-4
"""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
