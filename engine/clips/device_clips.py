"""Tokens that lie on an accelerator and are gathered there by index, so that no batch crosses the bus.

Axes: B batch, R clips and their views, P positions of all of them, T positions of a clip, Q token streams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int16, Int32, Int64
from torch import Tensor

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows

UPLOADED = 1 << 22  # positions that go to a device at a time: 8 MB a stream

# Evaluation asks at every epoch for what training has uploaded.
_uploaded: WeakKeyDictionary[TokenRows, dict[torch.device, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceRows:
    """The same batches as `tokens` gives, on the device of `bits_PQ`.

    `bits_PQ` holds the 16 bits of every id (the 32 of a soft token) as a signed number, since torch gathers no unsigned
    ones.
    """

    tokens: TokenRows
    bits_PQ: Int16[Tensor, "P Q"] | Int32[Tensor, "P Q"]

    @classmethod
    def on(cls, device: torch.device, tokens: TokenRows) -> "DeviceRows":
        """Copy `tokens` to `device`, unless they are there already."""
        copies = _uploaded.setdefault(tokens, {})
        if device not in copies:
            copies[device] = _upload(device, tokens)
        return cls(tokens=tokens, bits_PQ=copies[device])

    @property
    def keys(self) -> Sequence[str]:
        return self.tokens.keys

    @property
    def lengths_R(self) -> Int64[np.ndarray, "R"]:
        return self.tokens.lengths_R

    @property
    def labels(self) -> Labels:
        return self.tokens.labels

    def batch(self, rows_B: Int64[np.ndarray, "B"]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return what `tokens.batch` returns; two numbers a clip go to the device."""
        device = self.bits_PQ.device
        lengths_B = torch.from_numpy(self.tokens.lengths_R[rows_B])
        starts_B1 = torch.from_numpy(self.tokens.starts_R[rows_B]).to(device)[:, None]
        steps_T = torch.arange(int(lengths_B.max()), device=device)
        real_BT = steps_T < lengths_B.to(device)[:, None]
        rows_BT = torch.where(real_BT, starts_B1 + steps_T, 0)
        ids_BTQ = self.bits_PQ[rows_BT].long() & (0xFFFF if self.bits_PQ.dtype == torch.int16 else 0xFFFFFFFF)
        pad_Q = torch.tensor(self.tokens.vocab_sizes).to(device)
        return torch.where(real_BT[..., None], ids_BTQ, pad_Q), {}


def _upload(device: torch.device, tokens: TokenRows) -> Int16[Tensor, "P Q"] | Int32[Tensor, "P Q"]:
    """Return the tokens on a device; soft ones are put together some at a time, and never held whole here."""
    signed = torch.int16 if tokens.cosines_PQ is None else torch.int32
    bits_PQ = torch.empty(tokens.ids_PQ.shape, dtype=signed, device=device)
    for start in range(0, len(bits_PQ), UPLOADED):
        part = slice(start, start + UPLOADED)
        bits_PQ[part] = torch.from_numpy(tokens.tokens(part)).view(signed)
    return bits_PQ


def where_they_train(clips: Clips, device: torch.device) -> Clips:
    """Return `clips` as they are best gathered for `device`: tokens on an accelerator, all else by the CPU.

    What the CPU gathers for a CUDA device it gathers in pinned memory.
    """
    if isinstance(clips.rows, TokenRows) and device.type != "cpu":
        return replace(clips, rows=DeviceRows.on(device, clips.rows))
    return replace(clips, pinned=True) if device.type == "cuda" else clips
