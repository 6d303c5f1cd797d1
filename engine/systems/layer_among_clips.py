"""One linear layer on more features than clips: its weights are looked for among the sums of the clips' own features.

Axes: B batch, C clips in all their versions, A clips whose features the weights are a sum of, D features, L labels.

The optimum lies there (representer theorem), a clip counting as the mean of its versions as far as it has any; of more
than MOST_CLIPS clips, as many spread evenly over all are taken. What is solved then has A coordinates, however many
features there are.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.clip_features import ClipFeatures
from audio_tokens.engine.systems.logistic_in_blocks import logistic_regression_in_blocks

MOST_CLIPS = 2048  # whose features the weights are a sum of: 1 GB for 20,000 features, and 8 kB a clip in TMPDIR
RIDGE = 1e-6  # of the mean square length of features: clips that are alike do not span a dimension each


def logistic_regression_among_clips(
    features: ClipFeatures, clips: Clips, C: float, single_label: bool, what: str, say: Callable[[str], None]
) -> tuple[Float64[Tensor, "D L"], Float64[Tensor, "L"], float]:
    """Return the weights, the biases and the mean loss of a clip, as token_bag.logistic_regression does.

    `features` are those of all versions of the clips: `clips.every_version()`. The coordinates lie in a file without a
    name in TMPDIR; `say` is told beforehand what it takes, of the features of `what`. Raises UserError where there is
    no room for them.
    """
    every = clips.every_version()
    spread_A = np.unique(np.linspace(0, len(clips) - 1, MOST_CLIPS).astype(np.int64))
    held = 24 * len(spread_A) * features.width  # twice in float64, twice in float32
    say(f"{what}: {features.width:,} features, sums of those of {len(spread_A):,} clips: {held / 1e9:.1f} GB")
    axes_DA = axes_along(mean_of_versions(features, spread_A, len(clips)))
    coordinates = ClipFeatures(
        features.lengths_C, lambda clips_B: features[clips_B] @ axes_DA, len(spread_A), features.group_clips
    )
    x_CA = coordinates.file(what, "learn from fewer clips (--subset)", say)
    coordinates.fill(x_CA)

    def block(clips_B: Int64[np.ndarray, "B"]) -> tuple[Float32[Tensor, "B A"], Float32[Tensor, "B L"]]:
        targets_BL = torch.from_numpy(every.labels.targets(clips_B))
        return x_CA[torch.from_numpy(clips_B)].to(axes_DA.device), targets_BL.to(axes_DA.device)

    tell = lambda line: say(f"{what}: {line}")  # noqa: E731
    weights_AL, bias_L, loss = logistic_regression_in_blocks(block, np.arange(len(every)), C, single_label, tell)
    return axes_DA.double() @ weights_AL, bias_L, loss


def mean_of_versions(features: ClipFeatures, clips_A: Int64[np.ndarray, "A"], clips: int) -> Float32[Tensor, "A D"]:
    """Return the mean features of all versions of some clips; of all `clips`, one version follows the other."""
    firsts = range(0, len(features), clips)
    return torch.cat(
        [torch.stack([features[part + first] for first in firsts]).mean(dim=0) for part in features.groups(clips_A)]
    )


def axes_along(x_AD: Float32[Tensor, "A D"]) -> Float32[Tensor, "D A"]:
    """Return axes of length 1, at right angles, that span the rows: coordinates are as long as what they stand for.

    Where rows are alike, all but one of their axes are close to 0: see RIDGE.
    """
    x_AD = x_AD.double()
    gram_AA = x_AD @ x_AD.T
    gram_AA.diagonal().add_(RIDGE * gram_AA.diagonal().mean())
    return torch.linalg.solve_triangular(torch.linalg.cholesky(gram_AA), x_AD, upper=False).T.float()
