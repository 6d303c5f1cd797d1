"""A Dask cluster in place of the local pool: its workers see the same folder, and nothing else is asked of them.

Each call runs in a process of its own below the worker: a decoder that crashes or hangs ends that process, and the
worker tells of it as of any error. So a clip costs no worker (Dask gives a task up that has cost it a few), and the
journal beside the shards names the culprit as it does on one machine.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.shards.workers.child_process import call_apart
from audio_tokens.shards.workers.retry import Executor

ANSWER_TIMEOUT = "20s"


@contextmanager
def dask_pool(address: str) -> Iterator[Executor]:
    """Yield an executor on the cluster whose scheduler listens at `address` ("tcp://host:8786").

    Raises UserError where dask is not installed, no scheduler answers, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("a Dask cluster needs the extra `dask`: pip install 'audio-tokens[dask]'") from None
    try:
        client = Client(address, timeout=ANSWER_TIMEOUT)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address}: {' '.join(str(error).split())}") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"the Dask scheduler at {address} has no worker; start some with `dask worker {address}`")
        executor = client.get_executor(pure=False)

        class DaskPool:
            slots = threads

            def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
                return executor.submit(call_apart, function, *arguments)

        yield DaskPool()
