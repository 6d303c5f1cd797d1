"""This very process as an executor, for work that is done before another process would have started."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class ThisProcess:
    """Makes each call when it is submitted. What the call does to its process it does to the caller."""

    slots = 1

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future
