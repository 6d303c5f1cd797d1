"""A Dask cluster in place of the local pool: its workers see the same folder, and nothing else is asked of them.

Whether they do is looked at before every call, also by a worker that joins late: one with another folder under that
path would find no task there, and what it made would lie on its own disk.

Each call runs in a process of its own below the worker: a decoder that crashes or hangs ends that process, and the
worker tells of it as of any error. So a clip costs no worker (Dask gives a task up that has cost it a few), and the
journal beside the shards names the culprit as it does on one machine.
"""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.shards.publish import not_seen, seen_by_others
from audio_tokens.shards.workers.child_process import call_apart
from audio_tokens.shards.workers.retry import Executor

ANSWER_TIMEOUT = "20s"


@contextmanager
def dask_pool(address: str, folder: Path) -> Iterator[Executor]:
    """Yield an executor on the cluster whose scheduler listens at `address` ("tcp://host:8786").

    A call fails with a UserError where its worker does not see `folder` as it is here. Raises UserError where dask is
    not installed, no scheduler answers, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("a Dask cluster needs the extra `dask`: pip install 'audio-tokens[dask]'") from None
    try:
        client = Client(address, timeout=ANSWER_TIMEOUT)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address}: {' '.join(str(error).split())}") from None
    with client, seen_by_others(folder / "hosts") as mark:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"the Dask scheduler at {address} has no worker; start some with `dask worker {address}`")
        executor = client.get_executor(pure=False)

        class DaskPool:
            slots = threads

            def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
                return executor.submit(call_where_seen, mark, socket.gethostname(), function, *arguments)

        yield DaskPool()


def call_where_seen(mark: Path, here: str, function: Callable[..., Any], /, *arguments: Any) -> Any:
    """Return `function(*arguments)`, called apart. Raises UserError where this host does not see host `here`'s mark."""
    if not mark.exists():
        raise not_seen(socket.gethostname(), mark.parent, here)
    return call_apart(function, *arguments)
