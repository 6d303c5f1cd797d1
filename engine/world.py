"""The processes that work together: found once here, and refused when they do not know of each other."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audio_tokens.errors import UserError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import nn

# A host that loses its power says nothing, and gloo would wait for it for half an hour: one that has been silent for
# SILENT_S is asked, every ASKED_S, and given up after ASKED times.
SILENT_S, ASKED_S, ASKED = 30, 10, 6


def _alone(array: np.ndarray) -> np.ndarray:
    return array[None]


@dataclass(frozen=True)
class World:
    """The processes that work together; `gather` turns an array [...] of each into [size, ...] on all of them."""

    rank: int = 0
    size: int = 1
    gather: Callable[[np.ndarray], np.ndarray] = _alone


def precision_of(wanted: str, bf16_on_cpu: bool) -> str:
    """Return fp32 or bf16: what is `wanted`, and for `auto` bf16 where it pays on this machine."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if bf16_on_cpu and torch.cpu._is_avx512_bf16_supported() else "fp32"


@contextmanager
def tf32(device: "torch.device") -> Iterator[None]:
    """Let a CUDA device multiply float32 matrices as TF32 while the context lasts; nothing changes on another device.

    TF32 has float32's range and 10 bits behind the point: logits move by about a thousandth, several times as fast.
    """
    import torch

    before = torch.get_float32_matmul_precision()
    try:
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def unwrapped(model: "nn.Module") -> Any:
    """Return the model itself, of one that shares its gradients with other processes.

    accelerate's own way imports torch's compiler, 3 s, to see that nothing was compiled.
    """
    return getattr(model, "module", model)


@contextmanager
def processes(tracker: str | None = None, folder: str | None = None) -> "Iterator[Accelerator]":
    """Yield the Accelerator of this process; on leaving, the next training starts afresh.

    `tracker` names one of accelerate's (tensorboard, wandb, ...), which will log into `folder`. Raises UserError for
    one that is unknown or not installed, and where the launcher started more processes than found each other: two plain
    Accelerators under a launcher that set up no group would train twice into one folder.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import DistributedDataParallelKwargs

    if tracker is not None and tracker not in LOGGER_TYPE_TO_CLASS:
        raise UserError(f"tracker is {tracker!r}; it must be one of {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}")
    if tracker is not None and tracker not in map(str, get_available_trackers()):
        raise UserError(f"tracker {tracker!r} is not installed; install its package, or keep to tensorboard")
    # Else gradients are laid out anew after the first step of every start, and three processes or more then add them up
    # in another order: a resumed training would differ in its last bits.
    layout = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), log_with=tracker, project_dir=folder, kwargs_handlers=[layout]
    )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != launched:
        raise UserError(
            f"WORLD_SIZE is {launched} but {accelerator.num_processes} processes found each other; launch with "
            "`accelerate launch --multi_gpu --num_processes N` (on a CPU too) or as a single process"
        )
    if launched > 1:
        _ask_the_silent()
    try:
        yield accelerator
        accelerator.end_training()
    except BaseException:
        with suppress(Exception):  # what went wrong is told, and not what the other processes make of it
            accelerator.end_training()
        raise
    finally:
        accelerator.free_memory()
        AcceleratorState._reset_state(reset_partial_state=True)


def _ask_the_silent() -> None:
    """Have the system notice when the other end of a connection of this process is gone, though nobody said so."""
    for entry in Path("/proc/self/fd").glob("*"):  # Linux; elsewhere nothing is asked
        try:
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue
        except OSError:  # closed meanwhile
            continue
        with socket.socket(fileno=os.dup(int(entry.name))) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (
                (socket.TCP_KEEPIDLE, SILENT_S),
                (socket.TCP_KEEPINTVL, ASKED_S),
                (socket.TCP_KEEPCNT, ASKED),
                (socket.TCP_USER_TIMEOUT, 1000 * (SILENT_S + ASKED_S * ASKED)),  # ms, where what was sent is not heard
            ):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)


@contextmanager
def joined_world() -> "Iterator[World]":
    """Yield the processes that fit together; one on its own pays for no torch. Raises as `processes` does."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    with processes() as accelerator:
        yield world_of(accelerator)


def world_of(accelerator: "Accelerator") -> World:
    """Return the processes that an Accelerator has found."""
    import torch

    def gather(array: np.ndarray) -> np.ndarray:
        tensor = torch.from_numpy(np.array(array, order="C")[None]).to(accelerator.device)
        return accelerator.gather(tensor).cpu().numpy()

    return World(accelerator.process_index, accelerator.num_processes, gather)
