"""Make calls in other processes until all have succeeded or failed three times; a process that dies takes one call."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from shards.pool import Executor

RETRIES = 2


def call_all(
    executor: Executor,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    on_result: Callable[[Any], object],
) -> list[str]:
    """Call `function(*call)` for every one of `calls`; return a line for each that was given up.

    Raises a user's mistake (ValueError of any room) at once: no retry would help.
    """
    waiting = [(call, 0) for call in reversed(calls)]
    running: dict[Future, tuple[tuple[Any, ...], int]] = {}
    failures: list[str] = []
    while waiting or running:
        while waiting and len(running) < 2 * executor.slots:  # one in work and one at hand for each
            call, failed = waiting.pop()
            running[executor.submit(function, *call)] = (call, failed)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            call, failed = running.pop(future)
            error = future.exception()
            if error is None:
                on_result(future.result())
            elif isinstance(error, ValueError):
                raise error
            elif failed < RETRIES:
                waiting.append((call, failed + 1))
            else:
                failures.append(f"task {call[0]} failed three times: {type(error).__name__}: {error}")
    return failures
