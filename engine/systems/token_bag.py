"""token-bag: the square root of a clip's token histogram and one linear layer, solved at once by L-BFGS.

Axes: B batch, C clips, T positions, Q token streams, M alternatives of a soft token, K centroids of all streams, L
labels.

The square root makes the dot product of two histograms their Bhattacharyya coefficient (the Hellinger kernel), in which
frequent tokens no longer drown the rest; every stream's histogram has length 1. With `peaks`, the square roots of each
token's highest share in the clip stand beside it, evened alike: a short sound counts for more there than in a long one.
"""

from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy import sparse, special
from torch import Tensor, nn

from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.clip_features import ClipFeatures
from audio_tokens.engine.systems.logistic_in_blocks import logistic_regression_in_blocks
from audio_tokens.engine.systems.options import TokenBagOptions
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, mask_from, soft_tokens

# The most clips x features x labels that are held and solved as a whole, in float64: 1,000 clips of AudioSet's labels,
# 10,000 of 50. A step then takes 0.3 s and up to 1 GB; by blocks a fifth of the time, a tenth with features held.
AT_ONCE = 1 << 28
HELD = 1 << 28  # the most numbers (1 GB) of all clips' features that are kept, not made anew in every pass
GROUP_CLIPS = 128  # whose features are made at a time


class TokenBag(Tagger):
    """One linear layer on the histograms of all streams side by side.

    What is minimised is C x (sum of the clips' losses) + |weights|^2 / 2, as scikit-learn's LogisticRegression does.
    """

    first_Q: Tensor

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        sizes_Q = config.vocab_sizes
        first_Q = torch.tensor([sum(sizes_Q[:stream]) for stream in range(len(sizes_Q))])
        self.register_buffer("first_Q", first_Q, persistent=False)
        self.peaks = bool(config.options.get("peaks"))  # models from before there were any do not say
        self.head = nn.Linear((1 + self.peaks) * sum(sizes_Q), config.label_count)

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        return self.head(self.contents(ids_BTQ, lengths_B))

    def with_vote(
        self, logits_BL: Float[Tensor, "B L"], ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B L"]:
        """Return the mean of another system's logits and the bag's own: of log-shares, where a clip has one label."""
        both = (logits_BL, self(ids_BTQ, lengths_B))
        first_BL, second_BL = (each.log_softmax(dim=1) for each in both) if self.config.single_label else both
        return (first_BL + second_BL) / 2

    def contents(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B _"]:
        """Return the square roots of each clip's token shares, the streams side by side, and of their peaks if any.

        Each stream's have length 1, and so have its peaks.
        """
        ids_BTQM, shares_BTQM = soft_tokens(ids_BTQ, self.config.alternatives)
        real_BT11 = mask_from(lengths_B, ids_BTQ.shape[1], ids_BTQ.device)[..., None, None]
        columns_BN = (ids_BTQM + self.first_Q[:, None]).masked_fill(~real_BT11, 0).flatten(1)
        none_BK = self.head.weight.new_zeros(len(ids_BTQ), sum(self.config.vocab_sizes))
        shares_BN = (shares_BTQM * real_BT11).flatten(1).to(none_BK.dtype)
        found = none_BK.scatter_add(1, columns_BN, shares_BN) / lengths_B.to(none_BK.device)[:, None]
        if self.peaks:
            peaks_BK = none_BK.scatter_reduce(1, columns_BN, shares_BN, "amax")
            streams = peaks_BK.split(list(self.config.vocab_sizes), dim=1)
            found = torch.cat([found, *(each / each.sum(dim=1, keepdim=True) for each in streams)], dim=1)
        return found.sqrt()

    @torch.no_grad()
    def solve(self, clips: Clips, say: Callable[[str], None] = lambda line: None) -> float:
        """Fit the linear layer to all versions of the clips, and return a clip's mean loss.

        Where a clip is there in several versions, its loss is the mean of theirs. Work of more than AT_ONCE is done by
        blocks of clips, and `say` is told beforehand what it takes.
        """
        every, C = clips.every_version(), self.config.options["C"] / (1 + clips.views)
        there, single_label = where_they_train(every, self.head.weight.device), self.config.single_label
        made = ClipFeatures.of_batches(there, self.contents, self.head.in_features, GROUP_CLIPS)
        if work(every, self.head) > AT_ONCE:
            contents, numbers = made, len(made) * made.width
            if numbers <= HELD:
                say(f"bag: features of {len(made):,} clips are held: {4 * numbers / 1e9:.1f} GB")
                contents = made.held()

            def block(clips_B: Int64[np.ndarray, "B"]) -> tuple[Float32[Tensor, "B K"], Float32[Tensor, "B L"]]:
                x_BK = contents[clips_B]
                return x_BK, torch.from_numpy(every.labels.targets(clips_B)).to(x_BK.device)

            by_length_C = np.argsort(every.lengths_C, kind="stable")  # little padding
            tell = lambda line: say(f"bag: {line}")  # noqa: E731
            return set_layer(self.head, *logistic_regression_in_blocks(block, by_length_C, C, single_label, tell))
        every_C = np.arange(len(every))
        parts = [sparse.csr_array(made[clips_B].double().cpu().numpy()) for clips_B in made.groups(every_C)]
        x_CK, targets_CL = sparse.csr_array(sparse.vstack(parts)), every.labels.targets(every_C)
        return set_layer(self.head, *logistic_regression(x_CK, targets_CL, C, single_label))


def bag_beside(config: TaggerConfig) -> TokenBag:
    """Return the token-bag that votes beside a system with the option `bag`: solved, and never trained by steps."""
    bag = TokenBag(replace(config, system="token-bag", options=asdict(TokenBagOptions())))
    return bag.requires_grad_(False)


def work(clips: Clips, layer: nn.Linear) -> int:
    """Return how many products a layer is of all clips, one by one: clips x features x labels."""
    return len(clips) * layer.in_features * layer.out_features


def set_layer(layer: nn.Linear, weights_KL: np.ndarray | Tensor, bias_L: np.ndarray | Tensor, loss: float) -> float:
    """Give a layer the weights and biases that were found, and return their loss."""
    layer.weight.copy_(torch.as_tensor(weights_KL).T)
    layer.bias.copy_(torch.as_tensor(bias_L))
    return loss


def logistic_regression(
    x_CK: sparse.csr_array | Float64[np.ndarray, "C K"],
    targets_CL: Float32[np.ndarray, "C L"],
    C: float,
    single_label: bool,
) -> tuple[Float64[np.ndarray, "K L"], Float64[np.ndarray, "L"], float]:
    """Return the weights and biases that minimise C x (sum of losses) + |weights|^2 / 2, and the mean loss of a clip.

    The objective is that of scikit-learn's LogisticRegression (the bias is not penalised): multinomial where every clip
    has one label, else one binary problem per label, here solved all at once.
    """
    from scipy import optimize  # a second, which a trained model has no use for

    features, labels = x_CK.shape[1], targets_CL.shape[1]
    y_CL = targets_CL.astype(np.float64)
    transposed_KC = x_CK.T if isinstance(x_CK, np.ndarray) else sparse.csr_array(x_CK.T)

    def objective(flat: Float64[np.ndarray, "n"]) -> tuple[float, Float64[np.ndarray, "n"]]:
        weights_KL, bias_L = flat[:-labels].reshape(features, labels), flat[-labels:]
        z_CL = x_CK @ weights_KL + bias_L
        if single_label:
            losses = special.logsumexp(z_CL, axis=1) - (z_CL * y_CL).sum(axis=1)
            slopes_CL = special.softmax(z_CL, axis=1) - y_CL
        else:
            losses = np.logaddexp(0.0, z_CL) - z_CL * y_CL
            slopes_CL = special.expit(z_CL) - y_CL
        gradient = np.concatenate([(transposed_KC @ slopes_CL + weights_KL / C).ravel(), slopes_CL.sum(axis=0)])
        return float(losses.sum() + (weights_KL**2).sum() / (2 * C)), gradient

    found = optimize.minimize(
        objective,
        np.zeros((features + 1) * labels),
        jac=True,
        method="L-BFGS-B",
        # 1e-4 of a clip's loss slope: weights agree with an exact solver's to about 1e-3, scores to 1e-4
        options={"maxiter": 2000, "maxfun": 4000, "maxcor": 20, "gtol": 1e-4, "ftol": 1e-12},
    )
    weights_KL = found.x[:-labels].reshape(features, labels)
    mean_loss = (found.fun - (weights_KL**2).sum() / (2 * C)) / len(y_CL) / (1 if single_label else labels)
    return weights_KL, found.x[-labels:], float(mean_loss)
