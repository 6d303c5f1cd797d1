"""Make calls in other processes until all have succeeded or failed three times; a process that dies takes one call.

An executor is anything with `submit` that returns futures: the local pool, or a Dask cluster.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from audio_tokens.errors import UserError
from audio_tokens.shards.publish import is_full

RETRIES = 2
POLL_S = 0.5

Call = tuple[Any, ...]


@runtime_checkable
class Executor(Protocol):
    """`slots` calls run at a time; a future whose process died holds an exception."""

    slots: int

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future: ...


@dataclass(frozen=True)
class Failure:
    """A call that was given up, and the last reason why."""

    call: Call
    reason: str


def reason_of(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def call_all(
    executor: Executor,
    function: Callable[..., Any],
    calls: Sequence[Call],
    on_result: Callable[[Any], object],
    *,
    forgive: Callable[[Call], bool] = lambda call: False,
    on_poll: Callable[[list[Call]], object] = lambda running: None,
) -> list[Failure]:
    """Call `function(*call)` for every one of `calls`; return those that failed three times, the rest goes on.

    `forgive(call)` says of a failure that it does not count; `on_poll` is told twice a second which calls run.
    Raises at once what no retry would help: a user's mistake, a full disk.
    """
    waiting = [(call, 0) for call in reversed(calls)]
    running: dict[Future, tuple[Call, int]] = {}
    failures: list[Failure] = []
    while waiting or running:
        while waiting and len(running) < 2 * executor.slots:  # one in work and one at hand for each
            call, failed = waiting.pop()
            running[executor.submit(function, *call)] = (call, failed)
        for future in wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED).done:
            call, failed = running.pop(future)
            error = future.exception()
            if error is None:
                on_result(future.result())
            elif isinstance(error, UserError) or is_full(error):
                raise error
            elif forgive(call):
                waiting.append((call, failed))
            elif failed < RETRIES:
                waiting.append((call, failed + 1))
            else:
                failures.append(Failure(call, reason_of(error)))
        on_poll([call for call, _ in running.values()])
    return failures
