"""The artefacts that several laws damage copies of."""

from pathlib import Path

import pytest

from tests.faults.artefacts import make_artefacts


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with shards, codebook, tokens.zarr, and the runs bag (evaluated), lstm and body (a pre-training)."""
    work = tmp_path_factory.mktemp("artefacts")
    make_artefacts(work)
    return work
