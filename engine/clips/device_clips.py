"""Tokens that lie on an accelerator and are gathered there by index, so that no batch crosses the bus.

Axes: C clips, B batch, P positions of all clips, T positions of a clip, Q token streams.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int16, Int32, Int64
from torch import Tensor

from audio_tokens.engine.clips.token_clips import Batch, Clips, Labels, TokenClips


@dataclass(frozen=True, kw_only=True)
class ResidentTokens:
    """The same batches as `clips` gives, with ids and targets on the device of `bits_PQ`; lengths stay on the CPU.

    `bits_PQ` holds the 16 bits of every id (the 32 of a soft token) as a signed number, since torch gathers no unsigned
    ones: AudioSet's two million clips take 0.9 GB a stream.
    """

    clips: TokenClips
    bits_PQ: Int16[Tensor, "P Q"] | Int32[Tensor, "P Q"]

    @classmethod
    def on(cls, device: torch.device, clips: TokenClips) -> "ResidentTokens":
        """Copy the tokens of `clips` to `device`."""
        signed = np.int16 if clips.ids_PQ.dtype == np.uint16 else np.int32
        return cls(clips=clips, bits_PQ=torch.from_numpy(clips.ids_PQ.view(signed)).to(device))

    @property
    def keys(self) -> Sequence[str]:
        return self.clips.keys

    @property
    def lengths_C(self) -> Int64[np.ndarray, "C"]:
        return self.clips.lengths_C

    @property
    def labels(self) -> Labels:
        return self.clips.labels

    def __len__(self) -> int:
        return len(self.clips)

    def select(self, clips_B: Int64[np.ndarray, "B"]) -> "ResidentTokens":
        """Return some clips only, in the order given; the tokens themselves are shared."""
        return replace(self, clips=self.clips.select(clips_B))

    def narrowed(self, chosen: Sequence[int]) -> "ResidentTokens":
        """Return the same clips with the `chosen` labels only."""
        return replace(self, clips=self.clips.narrowed(chosen))

    def drawn(self, rng: np.random.Generator) -> "ResidentTokens":
        """Return the clips each in one of its versions: the tokens of all of them are on the device already."""
        return replace(self, clips=self.clips.drawn(rng))

    def versions(self) -> "list[ResidentTokens]":
        """Return the clips as they are, and after them each view of all of them."""
        return [replace(self, clips=version) for version in self.clips.versions()]

    def batches(self, parts: Iterable[Int64[np.ndarray, "..."]]) -> Iterator[Batch]:
        """Yield one batch per array of clip numbers."""
        return map(self.batch, parts)

    def batch(self, clips_B: Int64[np.ndarray, "B"]) -> Batch:
        """Return what `clips.batch` returns; two numbers a clip and its labels go to the device."""
        device = self.bits_PQ.device
        lengths_B = torch.from_numpy(self.clips.lengths_C[clips_B])
        starts_B1 = torch.from_numpy(self.clips.starts_C[clips_B]).to(device)[:, None]
        steps_T = torch.arange(int(lengths_B.max()), device=device)
        real_BT = steps_T < lengths_B.to(device)[:, None]
        rows_BT = torch.where(real_BT, starts_B1 + steps_T, 0)
        ids_BTQ = self.bits_PQ[rows_BT].long() & (0xFFFF if self.bits_PQ.dtype == torch.int16 else 0xFFFFFFFF)
        pad_Q = torch.tensor(self.clips.vocab_sizes, device=device)
        targets_BL = torch.from_numpy(self.clips.labels.targets(clips_B)).to(device)
        return Batch(torch.where(real_BT[..., None], ids_BTQ, pad_Q), lengths_B, targets_BL)


def where_they_train(clips: Clips, device: torch.device) -> Clips:
    """Return `clips` as they are best gathered for `device`: tokens on an accelerator, all else by the CPU."""
    if isinstance(clips, TokenClips) and device.type != "cpu":
        return ResidentTokens.on(device, clips)
    return clips
