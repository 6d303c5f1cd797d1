"""The memory sampler sees what a command and its children hold of their own, and nothing of what they map."""

import subprocess
import sys
from pathlib import Path

from benchmarks.scale.peak_memory import peak_memory

MB = 1_000_000


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import time\n{code}\ntime.sleep(0.3)"]


def test_the_peak_is_found_after_it_has_passed() -> None:
    bare = peak_memory(python(""))
    peak = peak_memory(python("x = b'x' * 200_000_000\ntime.sleep(0.3)\ndel x"))
    assert 190 * MB < peak.total_bytes - bare.total_bytes < 230 * MB
    assert peak.exit_code == 0


def test_children_count() -> None:
    child = python("x = b'x' * 100_000_000")
    peak = peak_memory(python(f"import subprocess\ny = b'y' * 100_000_000\nsubprocess.run({child!r})"))
    assert peak.processes == 2
    assert peak.total_bytes > 200 * MB > peak.process_bytes


def test_the_processor_time_of_children_counts() -> None:
    busy = python("while time.process_time() < 0.4: pass")
    peak = peak_memory(python(f"import subprocess\nsubprocess.run({busy!r})"))
    assert 0.35 < peak.cpu_s < peak.seconds + 0.4


def test_a_mapped_file_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(bytes(200 * MB))
    code = f"import mmap\nm = mmap.mmap(open({str(file)!r}, 'rb').fileno(), 0, access=mmap.ACCESS_READ)\nsum(m[::4096])"
    assert peak_memory(python(code)).total_bytes < 60 * MB


def test_the_command_hands_the_exit_code_on() -> None:
    words = [sys.executable, "-m", "benchmarks.scale.peak_memory", "--", sys.executable, "-c", "raise SystemExit(3)"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "peak anonymous memory" in done.stderr
