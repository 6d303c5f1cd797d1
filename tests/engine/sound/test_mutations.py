"""Whatever is done to a file, it becomes mel or a reject, in bounded time and memory."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.errors import ClipError
from tests.engine.sound.mutations import FORMATS, mutated

MOST_MIB = 1024


@pytest.mark.parametrize("mutations", [60, pytest.param(2000, marks=pytest.mark.long)])
def test_a_damaged_file_is_mel_or_a_reject(mutations: int) -> None:
    command = [sys.executable, "-m", "tests.engine.sound.mutations", "0", str(mutations)]
    asked = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(line) for line in asked.stdout.splitlines()]
    assert asked.returncode == 0, (lines[-1], asked.stderr[-2000:])
    begun, ended = lines[::2], lines[1::2]
    assert [line["number"] for line in begun] == list(range(mutations))
    assert {line["format"] for line in begun} == set(FORMATS)
    assert max(line["peak_MiB"] for line in ended) <= MOST_MIB
    outcomes = Counter(line["outcome"] for line in ended)
    assert min(outcomes["mel"], outcomes["reject"]) > mutations // 10  # the damage is neither all nor nothing
    assert not any("\n" in line["words"] or "0x" in line["words"] for line in ended)


def test_a_name_that_is_damaged_does_not_break_the_line() -> None:
    format, data = mutated(1280)
    assert format == "m4a"
    with pytest.raises(ClipError, match=r"^[ -~]+ box holds 1881 of 3687561976 bytes promised$"):
        FrontEnd(MEL_CONFIGS["mel22k"])(data)
