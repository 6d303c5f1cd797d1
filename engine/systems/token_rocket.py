"""token-rocket: beside the bag of tokens, random convolutions over their sequence; both are solved, not trained.

Axes: B batch, C clips, T positions, Q token streams, N kernels, J taps, F mel bands, D features, L labels.

A kernel reads every token as one number, and weighs the numbers of nine positions, a dilation apart. A clip's features
are how often the responses are high, and their power: ROCKET, Dempster et al. 2020, on tokens. Networks trained on a
few hundred clips of tokens score below the bag of tokens; these features depend on order with nothing to be trained but
a linear layer. It is solved apart from the bag's and their logits are added: solved as one, the bag, which fits its
training clips exactly, leaves the kernels' layer close to zero.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.systems.clip_features import ClipFeatures
from audio_tokens.engine.systems.layer_among_clips import MOST_CLIPS, logistic_regression_among_clips
from audio_tokens.engine.systems.logistic_in_blocks import logistic_regression_in_blocks
from audio_tokens.engine.systems.tagger import TaggerConfig, TokenEmbedding, mask_from
from audio_tokens.engine.systems.token_bag import AT_ONCE, TokenBag, logistic_regression, set_layer, work
from audio_tokens.errors import UserError

TAPS = 9
DILATIONS = (1, 2, 4, 8)  # positions; the widest kernel reaches over 3 s in the default recipe
REACH = TAPS // 2 * max(DILATIONS)
FIRST_STREAM = 0.7  # share of the kernels that read the first stream; the rest read the others
LEAST_POWER = 1e-3  # of a response, whose spread is about 1
LEAST_BAR = 1e-3  # added to every bar: where nothing moves a response is 0 but for rounding, which must not count
EVENED = 0.1  # share of the features' mean deviation that is added to each: those that hardly move stay small
GROUP_CLIPS = 16  # whose responses are held at a time when solving: 30 MB for 500 kernels
BLOCK_CLIPS = 512  # whose evened features are held at a time: 12 MB for 6,000
BAR_CLIPS = 64  # whose responses the bars are taken from


class TokenRocket(TokenBag):
    """The bag's logits, and to `share` those of the kernels.

    A kernel reads a token as a number of its own (`drawn`) or as the level of one or two bumps of bands in the token's
    mel (`spectra`). C (see TokenBag) is that of both layers.
    """

    high_2N: Tensor
    mean_D: Tensor
    spread_D: Tensor
    taps_JN: Tensor
    hears_QN: Tensor

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        kernels, streams = config.options["kernels"], len(config.vocab_sizes)
        self.embed = TokenEmbedding(config.vocab_sizes, kernels, config.alternatives).requires_grad_(False)
        later_N = (torch.rand(kernels) >= FIRST_STREAM) * (1 + torch.randint(max(1, streams - 1), (kernels,)))
        hears_QN = later_N.clamp(max=streams - 1) == torch.arange(streams)[:, None]
        taps_JN = torch.randn(TAPS, kernels)
        taps_JN = taps_JN - taps_JN.mean(dim=0)  # a level that stays is the bag's to know
        self.register_buffer("hears_QN", hears_QN.float())
        self.register_buffer("taps_JN", taps_JN / taps_JN.norm(dim=0))
        self.register_buffer("high_2N", torch.full((2, kernels), LEAST_BAR))
        self.register_buffer("mean_D", torch.zeros(3 * kernels))
        self.register_buffer("spread_D", torch.ones(3 * kernels))
        self.kernel_head = nn.Linear(3 * kernels, config.label_count)
        self._set_embedding([torch.randn(size, kernels) for size in config.vocab_sizes])

    def initialise(self, vectors: Sequence[Float32[np.ndarray, "_ _"]] = ()) -> None:
        """Let kernels read the tokens' spectra, `vectors` [K, F] a stream, where the options say so."""
        if self.config.options["embedding"] == "spectra":
            found, sizes = [len(spectra_KF) for spectra_KF in vectors], self.config.vocab_sizes
            if found != sizes:
                raise UserError(f"{found} spectra for tokens of {sizes}; give the codebook the tokens were made with")
            bands_FN = bumps(vectors[0].shape[1], self.config.options["kernels"])
            self._set_embedding([torch.from_numpy(spectra_KF) @ bands_FN for spectra_KF in vectors])

    @torch.no_grad()
    def _set_embedding(self, embedding: Sequence[Float[Tensor, "_ N"]]) -> None:
        """Set what each kernel reads in each token; a kernel reads one stream."""
        rows = 0
        for embedded_KN, reads_N in zip(embedding, self.hears_QN, strict=True):
            self.embed.table.weight[rows : rows + len(embedded_KN)] = embedded_KN * reads_N
            rows += len(embedded_KN) + 3  # PAD, CLS and MASK

    def forward(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label."""
        features_BD = (self.features(ids_BTQ, lengths_B) - self.mean_D) / self.spread_D
        return super().forward(ids_BTQ, lengths_B) + self.config.options["share"] * self.kernel_head(features_BD)

    def responses(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B T N"]:
        """Return every kernel's response around each position; a clip's first and last tokens go on beyond its ends."""
        clips_B1, last_B1 = torch.arange(len(ids_BTQ))[:, None], lengths_B.cpu()[:, None] - 1
        longest = ids_BTQ.shape[1]
        near_BT = torch.arange(-REACH, longest + REACH).clamp(min=0).minimum(last_B1)
        embedded_BNT = self.embed(ids_BTQ[clips_B1, near_BT]).transpose(1, 2)
        parts = []
        kernels = torch.arange(embedded_BNT.shape[1]).tensor_split(len(DILATIONS))
        for dilation, of_it in zip(DILATIONS, kernels, strict=True):
            start = REACH - TAPS // 2 * dilation
            near_BnT = embedded_BNT[:, of_it, start : start + longest + (TAPS - 1) * dilation]
            taps_n1J = self.taps_JN[:, of_it].T[:, None]
            parts.append(nn.functional.conv1d(near_BnT, taps_n1J, dilation=dilation, groups=len(of_it)))
        return torch.cat(parts, dim=1).transpose(1, 2)

    def features(self, ids_BTQ: Int64[Tensor, "B T Q"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B D"]:
        """Return a clip's D = 3 x N features: how often a response is above each of two bars, and its log RMS."""
        response_BTN = self.responses(ids_BTQ, lengths_B)
        real_BT1 = mask_from(lengths_B, ids_BTQ.shape[1], ids_BTQ.device)[..., None]
        lengths_B1 = lengths_B[:, None].to(response_BTN.device)
        often = [((response_BTN > high_N) & real_BT1).sum(dim=1) / lengths_B1 for high_N in self.high_2N]
        power_BN = (response_BTN.square() * real_BT1).sum(dim=1) / lengths_B1
        return torch.cat([*often, 0.5 * (power_BN + LEAST_POWER).log()], dim=1)

    @torch.no_grad()
    def solve(self, clips: Clips, say: Callable[[str], None] = lambda line: None) -> float:
        """Fit the bag, then the kernels' bars and layer, to the same clips; return the bag's mean loss of a clip.

        Where work is done by blocks (see TokenBag), features lie in a file without a name in TMPDIR. Raises UserError
        where that has no room for them.
        """
        every, C = clips.every_version(), self.config.options["C"] / (1 + clips.views)
        single_label = self.config.single_label
        there, by_blocks = where_they_train(every, self.head.weight.device), work(every, self.kernel_head) > AT_ONCE
        self._set_bars(there)
        made = ClipFeatures.of_batches(there, self.features, len(self.mean_D), GROUP_CLIPS)
        fewer = "--options.kernels to fewer"
        x_CD = made.file("kernels", fewer, say) if by_blocks else self.mean_D.new_empty(len(there), made.width)
        loss = super().solve(clips, say)
        made.fill(x_CD)
        self.mean_D.copy_(x_CD.mean(dim=0))
        self.spread_D.copy_(
            torch.cat([_spread(part_CD) for part_CD in x_CD.tensor_split([len(self.mean_D) // 3 * 2], 1)])
        )

        def evened(clips_B: Int64[np.ndarray, "B"]) -> Float32[Tensor, "B D"]:
            return (x_CD[torch.from_numpy(clips_B)].to(self.mean_D.device) - self.mean_D) / self.spread_D

        every_C = np.arange(len(every))
        if not by_blocks:
            targets_CL = every.labels.targets(every_C)
            even_CD = evened(every_C).double().cpu()
            set_layer(self.kernel_head, *logistic_regression(even_CD.numpy(), targets_CL, C, single_label))
        elif made.width > min(MOST_CLIPS, len(clips)):
            features = ClipFeatures(made.lengths_C, evened, made.width, BLOCK_CLIPS)
            among = logistic_regression_among_clips(features, clips, C, single_label, "kernels", say)
            set_layer(self.kernel_head, *among)
        else:

            def block(clips_B: Int64[np.ndarray, "B"]) -> tuple[Float32[Tensor, "B D"], Float32[Tensor, "B L"]]:
                return evened(clips_B), torch.from_numpy(every.labels.targets(clips_B)).to(self.mean_D.device)

            tell = lambda line: say(f"kernels: {line}")  # noqa: E731
            set_layer(self.kernel_head, *logistic_regression_in_blocks(block, every_C, C, single_label, tell))
        return loss

    def _set_bars(self, clips: Clips) -> None:
        """Set the bars to the thirds of the responses to clips spread evenly over all of them."""
        spread = np.unique(np.linspace(0, len(clips) - 1, BAR_CLIPS).astype(np.int64))
        sampled = []
        for clips_B in np.split(spread, range(GROUP_CLIPS, len(spread), GROUP_CLIPS)):
            batch = clips.batch(clips_B)
            real_BT = mask_from(batch.lengths_B, batch.input.shape[1], batch.input.device)
            sampled.append(self.responses(batch.input, batch.lengths_B)[real_BT])
        thirds_2N = np.quantile(torch.cat(sampled).cpu().numpy(), [1 / 3, 2 / 3], axis=0)
        self.high_2N.copy_(torch.from_numpy(thirds_2N + LEAST_BAR))


def bumps(bands: int, kernels: int) -> Float[Tensor, "F N"]:
    """Draw what kernels read of a spectrum: a bump of bands, and beside half of them another one, added or taken off.

    Bumps are Gaussian, anywhere, from two bands wide to a quarter of all.
    """
    centre_2N = (torch.rand(2, kernels) * 1.125 - 0.0625) * bands
    narrowest, widest = np.log(2), np.log(max(2.0, bands / 4))
    width_2N = torch.exp(narrowest + torch.rand(2, kernels) * (widest - narrowest))
    bump_2FN = torch.exp(-0.5 * ((torch.arange(bands)[:, None] - centre_2N[:, None]) / width_2N[:, None]) ** 2)
    bump_2FN = bump_2FN / width_2N[:, None].sqrt()
    sign_N = torch.tensor([0.0, 0.0, 1.0, -1.0])[torch.randint(4, (kernels,))]
    return bump_2FN[0] + sign_N * bump_2FN[1]


def _spread(x_CD: Float[Tensor, "C D"]) -> Float[Tensor, "D"]:
    """Return what to divide by for all features together to have a mean square of about 1, as a histogram has."""
    deviation_D = x_CD.std(dim=0, correction=0)
    evened_D = deviation_D + EVENED * deviation_D.mean()
    return (evened_D * len(evened_D) ** 0.5).clamp(min=torch.finfo(evened_D.dtype).tiny)
