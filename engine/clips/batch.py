"""A batch of clips, and a thread that makes batches before they are used.

Axes: B batch, T positions or frames, Q token streams, F mel bands, D dimensions of a slice, L labels.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """`input` is ids_BTQ (int64) or mel_BTF (float32), `lengths_B` int64, `targets` [B, L] float32 of 0..1.

    `beside` is what a system is given beside its input, a row per position too, by the name that `forward` knows it by:
    `slices_BTD` (float32), the mel each position's tokens were made from, and `weights_BTQ` (float32), how much each id
    of a position counts.
    """

    input: Tensor
    lengths_B: Tensor
    targets: Tensor
    beside: Mapping[str, Tensor] = MappingProxyType({})

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with all but the lengths on `device`; what is pinned is copied while the CPU goes on."""
        return self._each(lambda array: array.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """Return the batch with all but the lengths in pinned memory, from which a CUDA device copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, moved: Callable[[Tensor], Tensor]) -> "Batch":
        beside = {name: moved(array) for name, array in self.beside.items()}
        return Batch(moved(self.input), self.lengths_B, moved(self.targets), beside)

    def pieces(self, clips: int) -> "list[Batch]":
        """Cut the batch into parts of at most `clips` clips."""
        pieces = []
        for start in range(0, len(self.lengths_B), clips):
            part = slice(start, start + clips)
            beside = {name: array[part] for name, array in self.beside.items()}
            pieces.append(Batch(self.input[part], self.lengths_B[part], self.targets[part], beside))
        return pieces


def ahead(items: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """Yield `items`, up to `depth` of them made ahead by a thread; an error in the thread is raised here."""
    made: queue.Queue[tuple[Batch | None, BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(item: tuple[Batch | None, BaseException | None]) -> None:
        while not closed.is_set():
            try:
                return made.put(item, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put((item, None))
                if closed.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=make, name="mel reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        closed.set()
        thread.join()
