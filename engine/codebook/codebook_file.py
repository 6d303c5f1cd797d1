"""A codebook: everything that turns mel into tokens and back, in one folder that needs nothing else.

F mel bands, K centroids, W taps of a kernel.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from audio_tokens.engine.codebook.nearest.protocol import Metric
from audio_tokens.engine.codebook.quantizer import TokenStream
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.codebook.whitening import Whitening
from audio_tokens.errors import UserError

FORMAT, VERSION = "audio-tokens-codebook", 1
CONFIG, ARRAYS, OBJECTIVE = "config.json", "codebook.safetensors", "objective.csv"


@dataclass(frozen=True)
class Codebook:
    """Fitted streams and how they came about.

    `mel` is the mel configuration as a mapping; `offset_F` and `scale` the mean over the clips fitted on of what
    normalising takes from a clip, which decoding puts back; `origin` says what it was fitted on (data set hash,
    places, seed, recipe, `leak` where folds were fitted on that should have been left out); `history` the distortion
    of every pass, with its standard error where the pass read drawn clips only.
    """

    mel: dict[str, Any]
    slices: SliceConfig
    metric: Metric
    kernels_KW: Float32[np.ndarray, "K W"] | None
    streams: tuple[TokenStream, ...]
    offset_F: Float32[np.ndarray, "F"]
    scale: float
    origin: dict[str, Any]
    history: tuple[dict[str, int | float], ...]

    @property
    def vocab_sizes(self) -> tuple[int, ...]:
        """The number of tokens of each stream; ids are 0..size-1."""
        return tuple(len(stream.centroids_KD) for stream in self.streams)

    @cached_property
    def hash(self) -> str:
        """Sha256 (64 hex digits) of the files; equal hashes mean equal tokens."""
        return hashlib.sha256(self._config_bytes() + self._array_bytes()).hexdigest()

    def spectra(self) -> list[Float32[np.ndarray, "K F"]]:
        """Return what each token sounds like, a table a stream: normalised mel, mean of up to four middle frames."""
        found = []
        for context, stream in zip(self.slices.contexts, self.streams, strict=True):
            frames = min(4, max(1, context // 2))
            first = (context - frames) // 2
            patches_KTF = stream.patches_KM.reshape(len(stream.patches_KM), context, -1)
            found.append(patches_KTF[:, first : first + frames].mean(axis=1))
        return found

    def save(self, folder: Path) -> None:
        """Write config.json, codebook.safetensors and objective.csv into an existing folder."""
        (folder / ARRAYS).write_bytes(self._array_bytes())
        rows = io.StringIO()
        fields = ["stream", "pass", "vectors", "distortion", "standard_error", "dead"]
        writer = csv.DictWriter(rows, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        (folder / OBJECTIVE).write_text(rows.getvalue())
        (folder / CONFIG).write_bytes(self._config_bytes())

    @classmethod
    def load(cls, folder: str | Path) -> "Codebook":
        """Read what `save` wrote. Raises UserError where there is no codebook, a damaged or another version's one."""
        from safetensors.numpy import load

        folder = Path(folder)
        if not (folder / CONFIG).is_file() or not (folder / ARRAYS).is_file():
            raise UserError(f"{folder} holds no codebook; `audio-tokens cluster` makes one")
        try:
            config = json.loads((folder / CONFIG).read_bytes())
            found = config["format"], config["version"]
            if found == (FORMAT, VERSION):
                return cls._of(config, load((folder / ARRAYS).read_bytes()))
        except OSError:
            raise
        except Exception as error:  # a value may be of any kind, where a mapping was written
            said = " ".join(str(error).split())
            raise UserError(f"{folder} holds a damaged codebook ({said}); make it again") from None
        raise UserError(
            f"{folder} holds {found[0]} version {found[1]}, this program reads {FORMAT} version {VERSION}; "
            "make it again with `audio-tokens cluster`"
        )

    @classmethod
    def _of(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> "Codebook":
        codebook = cls(
            mel=config["mel"],
            slices=SliceConfig.from_dict(config["slices"]),
            metric=config["metric"],
            kernels_KW=arrays.get("kernels"),
            streams=tuple(stream_from(arrays, index) for index in range(config["streams"])),
            offset_F=arrays["offset"],
            scale=config["scale"],
            origin=config["origin"],
            history=tuple(config["history"]),
        )
        codebook._check()
        return codebook

    def _check(self) -> None:
        """Raise ValueError where the arrays do not fit the configuration or each other, or are not finite."""
        if self.metric not in ("cosine", "euclidean"):
            raise ValueError(f"metric {self.metric!r}")
        if len(self.streams) != len(self.slices.contexts):
            raise ValueError(f"{len(self.streams)} streams, and contexts {list(self.slices.contexts)}")
        kernels = 1 if self.kernels_KW is None else len(self.kernels_KW)
        for index, stream in enumerate(self.streams):
            covered = self.slices.covered_bands(index, self.mel["bands"] * kernels)
            covered_width = self.slices.contexts[index] * (covered.stop - covered.start)
            mel_width = self.slices.contexts[index] * self.mel["bands"]
            clusters, width = stream.centroids_KD.shape
            if stream.whitening is not None:
                matrix_shape, wanted = stream.whitening.matrix_DE.shape, (covered_width, width)
                if matrix_shape != wanted:
                    raise ValueError(f"{index}.matrix is {matrix_shape}, not {wanted}")
            elif width != covered_width and not (self.slices.residual and index):
                raise ValueError(f"{index}.centroids are {width} wide, not {covered_width}")
            if stream.patches_KM.shape != (clusters, mel_width) or len(stream.usage_K) != clusters:
                raise ValueError(f"{index}.patches or {index}.usage do not belong to {clusters} centroids")
        for name, array in self._arrays().items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds what is not finite")

    def _config_bytes(self) -> bytes:
        config = {
            "format": FORMAT,
            "version": VERSION,
            "mel": self.mel,
            "slices": self.slices.to_dict(),
            "metric": self.metric,
            "streams": len(self.streams),
            "vocab_sizes": list(self.vocab_sizes),
            "scale": self.scale,
            "origin": self.origin,
            "history": list(self.history),
        }
        return (json.dumps(config, indent=1) + "\n").encode()

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {"offset": self.offset_F}
        if self.kernels_KW is not None:
            arrays["kernels"] = self.kernels_KW
        for index, stream in enumerate(self.streams):
            arrays |= stream_arrays(stream, index)
        return arrays

    def _array_bytes(self) -> bytes:
        from safetensors.numpy import save

        # safetensors writes the memory as it lies: a transposed view would be written wrongly
        return save({name: np.ascontiguousarray(array) for name, array in self._arrays().items()})


def stream_arrays(stream: TokenStream, index: int) -> dict[str, np.ndarray]:
    """Return a stream's arrays under the names they are saved by, `<index>.centroids` and so on."""
    arrays = {"centroids": stream.centroids_KD, "patches": stream.patches_KM, "usage": stream.usage_K}
    if stream.whitening is not None:
        arrays |= {"mean": stream.whitening.mean_D, "matrix": stream.whitening.matrix_DE}
    return {f"{index}.{name}": array for name, array in arrays.items()}


def stream_from(arrays: Mapping[str, np.ndarray], index: int) -> TokenStream:
    """Return the stream that `stream_arrays` took apart."""
    whitening = None
    if f"{index}.matrix" in arrays:
        whitening = Whitening(arrays[f"{index}.mean"], arrays[f"{index}.matrix"])
    return TokenStream(whitening, arrays[f"{index}.centroids"], arrays[f"{index}.patches"], arrays[f"{index}.usage"])
