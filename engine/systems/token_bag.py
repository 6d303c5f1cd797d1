"""token-bag: the square root of a clip's token histogram and one linear layer, solved at once by L-BFGS.

Axes: B batch, C clips, T positions, Q token streams, M alternatives of a soft token, K centroids of all streams, L
labels.

The square root makes the dot product of two histograms their Bhattacharyya coefficient (the Hellinger kernel), in which
frequent tokens no longer drown the rest; every stream's histogram has length 1.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt
from scipy import sparse, special
from torch import Tensor, nn

from audio_tokens.engine.clips.runs import entries_of
from audio_tokens.engine.codebook.soft_tokens import unpacked
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, mask_from, soft_tokens


class TokenBag(Tagger):
    """One linear layer on the histograms of all streams side by side.

    What is minimised is C x (sum of the clips' losses) + |weights|^2 / 2, as scikit-learn's LogisticRegression does.
    """

    first_Q: Tensor

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        sizes_Q = config.vocab_sizes
        self.register_buffer("first_Q", torch.tensor([sum(sizes_Q[:stream]) for stream in range(len(sizes_Q))]))
        self.head = nn.Linear(sum(sizes_Q), config.label_count)

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        ids_BTQM, shares_BTQM = soft_tokens(ids_BTQ, self.config.alternatives)
        real_BT11 = mask_from(lengths_B, ids_BTQ.shape[1], ids_BTQ.device)[..., None, None]
        columns_BTQM = (ids_BTQM + self.first_Q[:, None]).masked_fill(~real_BT11, 0)
        counts_BK = self.head.weight.new_zeros(len(ids_BTQ), self.head.in_features)
        counts_BK.scatter_add_(1, columns_BTQM.flatten(1), (shares_BTQM * real_BT11).flatten(1).to(counts_BK.dtype))
        return self.head((counts_BK / lengths_B.to(counts_BK.device)[:, None]).sqrt())

    def solve(
        self,
        ids_PQ: UInt[np.ndarray, "P QM"],
        starts_C: Int64[np.ndarray, "C"],
        lengths_C: Int64[np.ndarray, "C"],
        targets_CL: Float32[np.ndarray, "C L"],
        versions: int = 1,
    ) -> float:
        """Fit the linear layer to the clips ids_PQ[starts_C : starts_C + lengths_C], and return a clip's mean loss.

        Where every clip is there in several versions, the loss of a clip is the mean of theirs.
        """
        x_CK = histograms(ids_PQ, starts_C, lengths_C, self.config.vocab_sizes, self.config.alternatives)
        weights_KL, bias_L, loss = logistic_regression(
            x_CK, targets_CL, self.config.options["C"] / versions, self.config.single_label
        )
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights_KL.T))
            self.head.bias.copy_(torch.from_numpy(bias_L))
        return loss


def histograms(
    ids_PQ: UInt[np.ndarray, "P QM"],
    starts_C: Int64[np.ndarray, "C"],
    lengths_C: Int64[np.ndarray, "C"],
    vocab_sizes: Sequence[int],
    alternatives: int = 1,
) -> sparse.csr_array:
    """Return the square roots of each clip's token shares, float64 [C, K], the streams side by side."""
    first_Q = np.cumsum([0, *vocab_sizes[:-1]])
    ids_PQM, shares_PQM = unpacked(ids_PQ[entries_of(starts_C, lengths_C)], alternatives)
    columns_PQM = ids_PQM + first_Q[:, None]
    rows_PQM = np.repeat(np.arange(len(lengths_C)), lengths_C * len(vocab_sizes) * alternatives)
    shape = (len(lengths_C), sum(vocab_sizes))
    counts = shares_PQM.ravel().astype(np.float64)
    x_CK = sparse.csr_array((counts, (rows_PQM, columns_PQM.ravel())), shape=shape)
    x_CK.sum_duplicates()
    x_CK.data = np.sqrt(x_CK.data / np.repeat(lengths_C, np.diff(x_CK.indptr)))
    return x_CK


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
