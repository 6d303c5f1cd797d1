"""Every function of the three rooms runs shape- and type-checked while tests run."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

import tests.checker  # noqa: F401  the hook below finds it by name

install_import_hook(["audio_tokens"], "tests.checker.checked")

# Few tests that take long and wait for other processes: begun last, they would keep one core waiting at the end.
FIRST = ("tests/faults/", "tests/laws/test_processes.py", "tests/jobs/test_train.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with `esc10/` and `audioset/`, named by AUDIO_TOKENS_DATA; tests skip where it is absent."""
    folder = os.environ.get("AUDIO_TOKENS_DATA")
    if not folder or not (Path(folder) / "esc10").is_dir():
        pytest.skip("AUDIO_TOKENS_DATA does not name a folder with esc10/ and audioset/")
    return Path(folder)
