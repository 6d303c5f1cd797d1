"""The state of a fit as one safetensors file, so that a killed fit goes on where it was."""

import json
from typing import Any

import numpy as np

from audio_tokens.engine.codebook.codebook_file import stream_arrays, stream_from
from audio_tokens.engine.codebook.fit_codebook import FitCheckpoint
from audio_tokens.engine.codebook.kmeans.problem import KMeansState
from audio_tokens.engine.codebook.whitening import Whitening
from audio_tokens.engine.state_digest import state_digest
from audio_tokens.errors import UserError, json_of


def to_bytes(state: FitCheckpoint, fingerprint: str) -> bytes:
    """Return the state as a file's content; `fingerprint` says of what fit it is."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {}
    facts = {"fingerprint": fingerprint, "streams": len(state.streams), "history": state.history, "scale": state.scale}
    for index, stream in enumerate(state.streams):
        arrays |= stream_arrays(stream, index)
    if state.offset_F is not None:
        arrays["offset"] = state.offset_F
    if state.whitening is not None:
        arrays |= {"mean": state.whitening.mean_D, "matrix": state.whitening.matrix_DE}
    if state.kmeans is not None:
        kmeans = state.kmeans
        arrays |= {"means": kmeans.means_KD, "counts": kmeans.counts_K, "recent": kmeans.recent_K}
        facts["kmeans"] = {
            "stage": kmeans.stage,
            "epoch": kmeans.epoch,
            "step": kmeans.step,
            "far_means": kmeans.far_means,
            "history": kmeans.history,
        }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    said = json.dumps({"facts": facts, "digest": _digest(contiguous, facts)})
    return save(contiguous, metadata={"fit": said})  # of several entries the order would change from file to file


def from_bytes(data: bytes) -> tuple[FitCheckpoint, str]:
    """Return the state and the fingerprint that `to_bytes` was given. Raises UserError for damaged data."""
    from safetensors import SafetensorError

    try:
        return _from_bytes(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the checkpoint of this fit is damaged ({error}) and cannot be gone on from") from None


def _digest(arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> str:
    entries = ((name, str(array.dtype), array.shape, array) for name, array in sorted(arrays.items()))
    return state_digest(entries, facts)


def _from_bytes(data: bytes) -> tuple[FitCheckpoint, str]:
    from safetensors.numpy import load

    arrays = load(data)
    header_bytes = int.from_bytes(data[:8], "little")
    metadata = json_of(data[8 : 8 + header_bytes])["__metadata__"]
    said = json_of(metadata["fit"])
    facts = said["facts"]
    if said["digest"] != _digest(arrays, facts):
        raise ValueError("its digest is another")
    kmeans = None
    if "kmeans" in facts:
        now = facts["kmeans"]
        kmeans = KMeansState(
            stage=now["stage"],
            epoch=now["epoch"],
            step=now["step"],
            means_KD=arrays["means"],
            counts_K=arrays["counts"],
            recent_K=arrays["recent"],
            far_means=tuple(now["far_means"]),
            history=tuple(now["history"]),
        )
    state = FitCheckpoint(
        streams=tuple(stream_from(arrays, index) for index in range(facts["streams"])),
        history=tuple(facts["history"]),
        offset_F=arrays.get("offset"),
        scale=facts["scale"],
        whitening=Whitening(arrays["mean"], arrays["matrix"]) if "matrix" in arrays else None,
        kmeans=kmeans,
    )
    return state, facts["fingerprint"]
