"""Whatever a file holds, whoever opens it says what is wrong in one line; tests/faults/fuzz.py is the long form."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_tokens.errors import UserError
from tests.faults.openers import OPENERS, lay_out, spoil

# Cases that once ended in a traceback, by the seed that makes them.
FOUND: list[str] = []


@pytest.fixture(scope="module")
def folder(artefacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    lay_out(artefacts, folder)
    return folder


def see(name: str, folder: Path, seed: object) -> None:
    file, data, error = spoil(OPENERS[name], folder, random.Random(seed))
    if error is not None and not isinstance(error, UserError):
        raise AssertionError(f"{name}: {file.name} as {data[:300]!r}") from error
    assert "\n" not in str(error or "")


@pytest.mark.parametrize("name", OPENERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40))
def test_a_file_that_is_nearly_right(name: str, folder: Path, seed: int) -> None:
    see(name, folder, seed)
