"""token-pairs: beside the bag of tokens, how often a token of one kind stands some positions after another kind.

Axes: B batch, C clips, T positions, Q token streams, M alternatives of a soft token, S groups of a stream's tokens, K
tokens of all streams, D features, L labels.

Each stream's tokens are put into groups by k-means of their centroids. For every lag a clip has the square roots of the
shares of (group i, group j a lag later), stream by stream; soft tokens count by the product of their shares. One
layer reads both histograms, the tokens' own and that of the pairs: what it gains over the bag is told in
benchmarks/results/order-log.md.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.clip_features import ClipFeatures
from audio_tokens.engine.systems.layer_among_clips import logistic_regression_among_clips
from audio_tokens.engine.systems.tagger import TaggerConfig, mask_from, soft_tokens
from audio_tokens.engine.systems.token_bag import TokenBag, set_layer
from audio_tokens.errors import UserError

GROUP_CLIPS = 128  # whose features are made at a time: 20 MB for 20,000, and as much for the groups of 100 positions


class TokenPairs(TokenBag):
    """One linear layer on the histograms of tokens and of pairs, side by side.

    What is minimised is the bag's objective; weights are looked for where layer_among_clips.py says.
    """

    group_K: Tensor

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        sizes_Q = config.vocab_sizes
        self.groups, self.lags = min(config.options["groups"], max(sizes_Q)), tuple(config.options["lags"])
        self.register_buffer("group_K", torch.cat([torch.randperm(size) % self.groups for size in sizes_Q]))
        pairs = len(self.lags) * len(sizes_Q) * self.groups**2
        self.head = nn.Linear(self.head.in_features + pairs, config.label_count)
        self.register_load_state_dict_post_hook(_see_groups)

    def initialise(self, vectors: Sequence[Float32[np.ndarray, "_ _"]] = ()) -> None:
        """Group tokens by their centroids, `vectors` [K, D] a stream, where the options say so."""
        if self.config.options["embedding"] == "centroids":
            found, sizes = [len(centroids_KD) for centroids_KD in vectors], self.config.vocab_sizes
            if found != sizes:
                raise UserError(f"{found} centroids for tokens of {sizes}; give the codebook the tokens were made with")
            self.group_K.copy_(torch.cat([grouped(centroids_KD, self.groups) for centroids_KD in vectors]))

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        return self.head(self.features(ids_BTQ, lengths_B))

    def features(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B D"]:
        """Return what the bag reads and the histograms of pairs: of length 1 a stream, that of pairs over all lags."""
        return torch.cat([self.contents(ids_BTQ, lengths_B), self.pairs(ids_BTQ, lengths_B)], dim=1)

    def pairs(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B _"]:
        """Return the square roots of each clip's shares of pairs, lag by lag, stream by stream, S x S of each.

        A clip no longer than a lag has no such pair: zeros.
        """
        ids_BTQM, shares_BTQM = soft_tokens(ids_BTQ, self.config.alternatives)
        real_BT11 = mask_from(lengths_B, ids_BTQ.shape[1], ids_BTQ.device)[..., None, None]
        group_BTQM = self.group_K[(ids_BTQM + self.first_Q[:, None]).masked_fill(~real_BT11, 0)]
        there_BTQS = self.head.weight.new_zeros(*ids_BTQM.shape[:3], self.groups)
        there_BTQS.scatter_add_(3, group_BTQM, (shares_BTQM * real_BT11).to(there_BTQS.dtype))
        parts = []
        for lag in self.lags:
            counts_BQSS = torch.einsum("btqi,btqj->bqij", there_BTQS[:, :-lag], there_BTQS[:, lag:])
            pairs_B1 = (lengths_B.to(counts_BQSS.device)[:, None] - lag).clamp(min=1)
            parts.append((counts_BQSS.flatten(1) / pairs_B1).sqrt())
        return torch.cat(parts, dim=1) / len(self.lags) ** 0.5

    @torch.no_grad()
    def solve(self, clips: Clips, say: Callable[[str], None] = lambda line: None) -> float:
        """Fit the linear layer to all versions of the clips, and return a clip's mean loss.

        `say` is told beforehand what it takes. Raises UserError where TMPDIR has no room for the clips' coordinates.
        """
        every, C = clips.every_version(), self.config.options["C"] / (1 + clips.views)
        there = where_they_train(every, self.head.weight.device)
        features = ClipFeatures.of_batches(there, self.features, self.head.in_features, GROUP_CLIPS)
        found = logistic_regression_among_clips(features, clips, C, self.config.single_label, "pairs", say)
        return set_layer(self.head, *found)


def _see_groups(model: TokenPairs, loaded: object) -> None:
    """Raise ValueError where the weights that were loaded put a token into a group that there is not: damage."""
    if not bool(((model.group_K >= 0) & (model.group_K < model.groups)).all()):
        raise ValueError(f"group_K has groups beyond the {model.groups} that there are")


def grouped(centroids_KD: Float32[np.ndarray, "K D"], groups: int) -> Int64[Tensor, "K"]:
    """Return each token's group: k-means of the centroids, the same for the same centroids."""
    if len(centroids_KD) <= groups:
        return torch.arange(len(centroids_KD))
    from sklearn.cluster import KMeans  # a second, which a trained model has no use for
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(category=ConvergenceWarning, action="ignore"):  # fewer, where centroids are alike
        found = KMeans(groups, n_init=1, random_state=0).fit(centroids_KD.astype(np.float64))
    return torch.from_numpy(found.labels_.astype(np.int64))
