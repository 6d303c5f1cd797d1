"""Parquet, wherever it lies, a few rows at a time; whatever is wrong with a file is an OSError that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audio_tokens.shards.sources.files import open_file

# Buffered, not pre-buffered: a row group of AudioSet is 130 MB of audio, and a worker needs eight clips of it.
READ_BYTES = 1 << 20


def open_parquet(url: str) -> Any:
    """Return the file, whose schema can be read. Raises OSError for what is no parquet."""
    import pyarrow.parquet

    with _named(url):
        parquet = pyarrow.parquet.ParquetFile(open_file(url), buffer_size=READ_BYTES, pre_buffer=False)
        str(parquet.schema_arrow)
        return parquet


def batches(parquet: Any, url: str, **which: Any) -> Iterator[Any]:
    """Yield a file's record batches. Raises OSError where one cannot be read."""
    with _named(url):
        yield from parquet.iter_batches(**which)


@contextmanager
def _named(url: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError) as error:  # a name that is no text is a ValueError
        raise OSError(f"{url} is no parquet file, or a damaged one: {error}") from None
