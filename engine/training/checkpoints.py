"""A training's state in one file: weights and optimizer moments as safetensors, counters as JSON in its header.

No pickle is read or written; one file is replaced by one rename, so that a killed process leaves the last whole state.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from audio_tokens.engine.state_digest import state_digest
from audio_tokens.engine.training.weight_average import Average
from audio_tokens.errors import UserError, json_of

Publish = Callable[[Path], AbstractContextManager[Path]]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one training, `<folder>/<name>.safetensors`; `publish` makes a file appear whole or never."""

    folder: Path
    publish: Publish

    @property
    def begun(self) -> bool:
        """Whether there is a state to go on from."""
        return (self.folder / "last.safetensors").is_file()

    def save(
        self,
        name: str,
        model: nn.Module,
        state: Mapping[str, Any],
        optimizer: Optimizer | None = None,
        average: Average | None = None,
    ) -> None:
        """Write the model and `state` (anything JSON holds), the optimizer's moments and averaged weights if given."""
        from safetensors.torch import save_file

        tensors = {f"model.{key}": value.detach().contiguous() for key, value in model.state_dict().items()}
        if optimizer is not None:
            moments = optimizer.state
            for key, parameter in model.named_parameters():
                for moment, value in moments.get(parameter, {}).items():
                    tensors[f"optimizer.{moment}.{key}"] = value.detach().contiguous()
        if average is not None:
            tensors |= {f"average.{key}": value.contiguous() for key, value in average.state_dict().items()}
        with self.publish(self.folder / f"{name}.safetensors") as path:
            save_file(tensors, path, metadata={"state": json.dumps(state), "digest": _digest(tensors, state)})

    def load(
        self, name: str, model: nn.Module, optimizer: Optimizer | None = None, average: Average | None = None
    ) -> dict[str, Any] | None:
        """Restore what `save` wrote and return its state; None where there is no file.

        Raises UserError for a damaged one.
        """
        from safetensors import SafetensorError

        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            return None
        try:
            tensors, state = _read(path)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"checkpoint {path} is damaged ({error}); remove {path.parent}, and the same command begins anew"
            ) from None
        prefix = "model."
        model.load_state_dict({key[len(prefix) :]: tensors[key] for key in tensors if key.startswith(prefix)})
        if optimizer is not None:
            parameters = dict(model.named_parameters())
            for key, value in tensors.items():
                if key.startswith("optimizer."):
                    _, moment, name_of = key.split(".", 2)
                    optimizer.state[parameters[name_of]][moment] = value.to(parameters[name_of].device)
        if average is not None:
            average.load_state_dict({k.partition(".")[2]: tensors[k] for k in tensors if k.startswith("average.")})
        return state


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the state of a checkpoint. Raises ValueError where they are not what was saved."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
        metadata = file.metadata() or {}
    state = json_of(metadata["state"])
    if metadata["digest"] != _digest(tensors, state):
        raise ValueError("its digest is another")
    return tensors, state


def _digest(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> str:
    """Return the digest of a state; a tensor at a time is brought to the CPU."""
    bytes_of = (
        (key, str(value.dtype), tuple(value.shape), value.cpu().reshape(-1).view(torch.uint8).numpy())
        for key, value in sorted(tensors.items())
    )
    return state_digest(bytes_of, state)
