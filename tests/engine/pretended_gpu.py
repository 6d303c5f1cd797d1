"""A GPU that only pretends: its tensors hold numbers, are computed on the CPU, and refuse what a real GPU would refuse.

torch's own fake tensors hold no numbers, so that code which looks at a length or a count cannot run on them; and its
`cuda` wants a driver. So the device that pretends is `meta`, which every build of torch has.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("meta")
COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
# Indices, and what is written to some places of a tensor, may lie on the CPU.
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default}
# A packed sequence's lengths and batch sizes lie on the CPU, whatever holds its data.
PACKED = {torch.ops.aten._pack_padded_sequence.default, torch.ops.aten._pad_packed_sequence.default}
LSTM = {torch.ops.aten.lstm.data}


class OnGpu(torch.Tensor):
    """A CPU tensor that says it lies on the GPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnGpu":
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=GPU, requires_grad=held.requires_grad
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class PretendedGpu(TorchDispatchMode):
    """While it is active, what is made for or moved to `GPU` lies on the pretended GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def moved(module: torch.nn.Module) -> torch.nn.Module:
    """Put a module's parameters and buffers onto the pretended GPU, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(OnGpu(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else OnGpu(buffer)
    return module


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    there = any(isinstance(value, OnGpu) for value in tensors)
    strangers = [value for value in tensors if not isinstance(value, OnGpu) and value.dim()]
    if there and strangers and func not in COPIES | INDEXED | PACKED | LSTM:
        raise RuntimeError(
            f"{func}: tensors on the GPU and on the CPU, of {[tuple(value.shape) for value in strangers]}"
        )
    wanted = kwargs.get("device")
    goes_there = there if wanted is None else torch.device(wanted) == GPU
    kwargs = kwargs | ({} if wanted is None else {"device": torch.device("cpu")})
    args, kwargs = tree_map(lambda value: value.held if isinstance(value, OnGpu) else value, (args, kwargs))
    if func in PACKED and isinstance(tensors[1], OnGpu):
        raise RuntimeError(f"{func}: lengths and batch sizes must be on the CPU")
    result = func(*args, **kwargs)
    if func in PACKED:
        return OnGpu(result[0]), result[1]
    if not goes_there:
        return result
    return tree_map(lambda value: OnGpu(value) if isinstance(value, torch.Tensor) else value, result)
