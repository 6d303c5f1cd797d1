"""How often a clip is drawn. C clips, L labels."""

import numpy as np
from jaxtyping import Float64

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.runs import entries_of


def clip_weights(labels: Labels) -> Float64[np.ndarray, "C"]:
    """Return each clip's weight: the sum over its labels of 1000 / (clips of that label + 0.01), as PANNs and AST draw.

    A clip without a label weighs as much as the lightest one.
    """
    rows = np.repeat(np.arange(len(labels.starts_C)), labels.lengths_C)
    ids = labels.ids[entries_of(labels.starts_C, labels.lengths_C)]
    counts_L = np.bincount(ids, minlength=labels.count)
    weights_C = np.bincount(rows, weights=1000.0 / (counts_L[ids] + 0.01), minlength=len(labels.starts_C))
    return np.where(weights_C > 0, weights_C, weights_C[weights_C > 0].min() if len(rows) else 1.0)
