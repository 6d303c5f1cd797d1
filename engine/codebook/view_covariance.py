"""How the slices of a clip differ from those of a view of it at the same moment, which tokens should not show.

Whitened by the covariance of these differences, a direction counts by how little it moves with the speaker, the room or
the level: within-class covariance normalisation, a clip and its view being the class (Hatch, Kajarekar and Stolcke,
"Within-class covariance normalization for SVM-based speaker recognition", 2006).

N positions of all clips, D dimensions of a slice.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from audio_tokens.engine.codebook.quantizer import Prepared, Quantizer
from audio_tokens.engine.lanes import Lanes, sum_lanes
from audio_tokens.engine.world import World
from audio_tokens.errors import UserError


def view_covariances(
    pairs: Lanes, quantizer: Quantizer, dims: Sequence[int], world: World
) -> tuple[Float64[np.ndarray, "D D"], ...]:
    """Return a covariance for each of the first streams, which have so many `dims`.

    The blocks of `pairs` are lists of clips' log mel [T, F] with that of a view, of as many moments in any number of
    frames. Half of the differences' covariance is either's. Raises UserError where there is no pair.
    """

    def work(lane: int) -> tuple[np.ndarray, ...]:
        positions, outers = 0, [np.zeros((D, D)) for D in dims]
        for block in pairs.blocks(lane, 0):
            clips, views = ([quantizer.prepare(mel_TF) for mel_TF in mels] for mels in zip(*block, strict=True))
            for stream, outer_DD in enumerate(outers):
                differences_ND = np.concatenate(
                    [differences(quantizer, clip, view, stream) for clip, view in zip(clips, views, strict=True)]
                ).astype(np.float64)
                outer_DD += differences_ND.T @ differences_ND
            positions += len(differences_ND)
        return np.array(positions), *outers

    positions, *outers = sum_lanes(work, pairs.lanes, world)
    if not positions:
        raise UserError("no clip that is fitted on has a view; name with --source what the shards were built from")
    return tuple(outer_DD / (2 * positions) for outer_DD in outers)


def differences(quantizer: Quantizer, clip: Prepared, view: Prepared, stream: int) -> Float32[np.ndarray, "N D"]:
    """Return a clip's slices less those of its view at the same share of the whole: a view may be faster or slower."""
    clip_ND, view_ND = (quantizer.slices_of([each], stream) for each in (clip, view))
    at_N = np.arange(len(clip_ND)) * (len(view_ND) - 1) / max(1, len(clip_ND) - 1)
    return clip_ND - view_ND[np.rint(at_N).astype(np.int64)]
