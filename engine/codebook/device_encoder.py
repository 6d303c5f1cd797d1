"""Tokens of many clips at once on a GPU: mel goes up, ids come down, and all between stays there.

The same as Quantizer and soft_tokens, but for rounding: of two centroids as near as float32 can tell, either may win.
T frames of all clips, N positions of all clips, D dimensions, K centroids, Q token streams, M alternatives.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.nearest.torch_search import TorchNearest
from audio_tokens.engine.codebook.quantizer import Prepared, TokenStream, stream_metric
from audio_tokens.engine.codebook.slices import position_count, window_rows
from audio_tokens.engine.codebook.soft_tokens import Tokens

TILE_SCORES = 1 << 26  # of alternatives at a time: 256 MiB


class DeviceEncoder:
    """Applies a codebook on one device."""

    def __init__(self, codebook: Codebook, device: torch.device) -> None:
        self._slices, self._device = codebook.slices, device
        self._streams = [
            _DeviceStream(stream, TorchNearest(stream.centroids_KD, metric, device), device)
            for index, stream in enumerate(codebook.streams)
            for metric in [stream_metric(codebook.slices, codebook.metric, index)]
        ]

    @torch.inference_mode()
    def __call__(self, clips: Sequence[Prepared], top: int = 1) -> list[Tokens]:
        """Return each clip's tokens; above 1, `top` alternatives of every position."""
        lengths = [len(clip.frames_TF) for clip in clips]
        frames_TF = torch.from_numpy(np.concatenate([clip.frames_TF for clip in clips])).to(self._device)
        x_ND = frames_TF
        ids: list[Tensor] = []
        alternatives: list[tuple[Tensor, Tensor]] = []
        for index, stream in enumerate(self._streams):
            if self._slices.residual and index:
                x_ND = self._streams[index - 1].left_over(x_ND, ids[-1])
            else:
                rows_NC = torch.from_numpy(window_rows(lengths, self._slices, index)).to(self._device)
                covered = self._slices.covered_bands(index, frames_TF.shape[1])
                x_ND = stream.whitened(frames_TF[:, covered][rows_NC].flatten(start_dim=1))
                x_ND = normalize(x_ND, eps=torch.finfo().tiny) if self._slices.unit_length else x_ND
            ids.append(stream.nearest(x_ND))
            if top > 1:
                alternatives.append(stream.alternatives(x_ND, ids[-1], top))
        ends = np.cumsum([position_count(frames, self._slices) for frames in lengths])
        parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        ids_NQ = _side_by_side(ids).astype(np.uint16)
        if top == 1:
            return [Tokens(ids_NQ[part]) for part in parts]
        top_ids_NQM, cosines_NQM = map(_side_by_side, zip(*alternatives, strict=True))
        top_ids_NQM = top_ids_NQM.astype(np.uint16)
        return [Tokens(ids_NQ[part], top_ids_NQM[part], cosines_NQM[part]) for part in parts]


def _side_by_side(streams: Sequence[Tensor]) -> np.ndarray:
    """Return the streams' numbers as one array of the host: [N, Q, ...]."""
    return torch.stack(list(streams), dim=1).cpu().numpy()


class _DeviceStream:
    """One stream's whitening and centroids on a device."""

    def __init__(self, stream: TokenStream, nearest: TorchNearest, device: torch.device) -> None:
        self._search, self._whitening = nearest, None
        self._unit_KD = normalize(nearest.on_device_KD, eps=torch.finfo().tiny)
        if stream.whitening is not None:
            mean_D, matrix_DE = stream.whitening.mean_D, stream.whitening.matrix_DE
            self._whitening = [torch.from_numpy(array).to(device) for array in (matrix_DE, mean_D @ matrix_DE)]

    def whitened(self, x_ND: Tensor) -> Tensor:
        """Return the slices as Whitening would."""
        if self._whitening is None:
            return x_ND
        matrix_DE, mean_E = self._whitening
        return x_ND @ matrix_DE - mean_E

    def left_over(self, x_ND: Tensor, ids_N: Tensor) -> Tensor:
        """Return what the tokens `ids_N` leave of the vectors."""
        return x_ND - self._search.on_device_KD[ids_N]

    def nearest(self, x_ND: Tensor) -> Tensor:
        """Return the ids [N]."""
        return self._search.best(x_ND)[1]

    def alternatives(self, x_ND: Tensor, ids_N: Tensor, top: int) -> tuple[Tensor, Tensor]:
        """Return ids [N, M] and cosines' bytes [N, M] of the `top` alternatives, as several_nearest does."""
        tops, cosines = [], []
        tile = max(1, TILE_SCORES // len(self._unit_KD))
        for part_ND, own_N in zip(x_ND.split(tile), ids_N.split(tile), strict=True):
            cosine_NK = normalize(part_ND, eps=torch.finfo().tiny) @ self._unit_KD.T
            own_N1 = own_N[:, None]
            first_N1 = cosine_NK.gather(1, own_N1)
            others = cosine_NK.scatter_(1, own_N1, -torch.inf).topk(top - 1, dim=1)
            tops.append(torch.cat([own_N1, others.indices], dim=1))
            cosines.append(torch.cat([first_N1, others.values], dim=1))
        bytes_NM = ((torch.cat(cosines).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        return torch.cat(tops), bytes_NM
