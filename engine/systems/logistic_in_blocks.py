"""Logistic regression on more clips than fit in memory: L-BFGS, every step of which passes over all of them by blocks.

Axes: C clips, B clips of a block, D features, L labels.

The objective is that of token_bag.logistic_regression. Losses and gradients are dense products in float32 where the
features lie, on a GPU where there is one, and are added up in float64. Memory is that of a block and of L-BFGS,
whatever the number of clips; time is passes, so that L-BFGS works in coordinates in which the objective is nearly
round: along the principal axes of the features, each scaled, label by label, by the root of the objective's second
derivative along it: a fifth of the passes that it takes without.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, nn

BLOCK_CLIPS = 4096  # 60 MB at 500 features and 527 labels
SAMPLE_BLOCKS = 4  # of clips from all over: they give the axes and the first scales, and the seconds of the estimate
FIRST_PASSES = 10  # after which the scales are taken anew, at the weights found by then
MOST_PASSES = 300
USUAL_PASSES = 35  # 17 to 37 were taken, the more the less L2 there is
MEMORIES = 10  # steps that L-BFGS remembers
LEAST_GAIN = 1e-5  # of a step, as a share of the objective: the optimum is then within about 1e-4 of it

Block = Callable[[Int64[np.ndarray, "B"]], tuple[Float32[Tensor, "B D"], Float32[Tensor, "B L"]]]


def logistic_regression_in_blocks(
    block: Block, order_C: Int64[np.ndarray, "C"], C: float, single_label: bool, say: Callable[[str], None]
) -> tuple[Float64[Tensor, "D L"], Float64[Tensor, "L"], float]:
    """Return the weights, the biases and the mean loss of a clip, as token_bag.logistic_regression does.

    `block` returns the features and targets of some clips on the device that computes; every pass asks it for those of
    `order_C`, in that order. `say` is told the time and memory to come, by the seconds that a sample took; and, at the
    end, should the optimum not have been reached.

    The objective found is at most 1e-3 above the optimum's, as a share, and mAP is within 1e-3 of it (measured on sets
    that an exact solver can do: at most 5e-5, and 4e-4). The same clips give the same weights on the same device.
    """
    sample_C = order_C[np.unique(np.linspace(0, len(order_C) - 1, SAMPLE_BLOCKS * BLOCK_CLIPS).astype(np.int64))]
    whole, sample = (_Problem(block, _parts(clips_C), C, single_label) for clips_C in (order_C, sample_C))
    weights_DL, bias_L, axes_DD = _beginning(sample)
    start = time.perf_counter()
    sample.value(weights_DL, bias_L)
    say(_estimate((time.perf_counter() - start) / len(sample_C), len(order_C), *weights_DL.shape))

    scales = sample.curvature(weights_DL, bias_L, axes_DD, len(order_C) / len(sample_C))
    weights_DL, bias_L, _, _ = _minimised(whole, scales, weights_DL, bias_L, FIRST_PASSES)
    scales = whole.curvature(weights_DL, bias_L, axes_DD)
    weights_DL, bias_L, objective, reached = _minimised(whole, scales, weights_DL, bias_L, MOST_PASSES)
    if not reached:
        say(f"stopped after {MOST_PASSES} passes, short of the optimum")
    loss = (objective - float(weights_DL.square().sum()) / (2 * C)) / len(order_C)
    return weights_DL, bias_L, loss / (1 if single_label else len(bias_L))


@dataclass(frozen=True)
class _Coordinates:
    """weights = axes @ (scale * v), each label's bias = scale * v less what its centre of the features then adds."""

    axes_DD: Float64[Tensor, "D D"]
    centre_DL: Float64[Tensor, "D L"]
    scale_DL: Float64[Tensor, "D L"]
    scale_L: Float64[Tensor, "L"]

    def flat(self, weights_DL: Float64[Tensor, "D L"], bias_L: Float64[Tensor, "L"]) -> Float64[np.ndarray, "n"]:
        """Return the point in these coordinates."""
        turned_DL = self.axes_DD.T @ weights_DL
        beside_L = (bias_L + (self.centre_DL * turned_DL).sum(dim=0)) / self.scale_L
        return torch.cat([turned_DL / self.scale_DL, beside_L[None]]).flatten().cpu().numpy()

    def point(self, flat: Float64[np.ndarray, "n"]) -> tuple[Float64[Tensor, "D L"], Float64[Tensor, "L"]]:
        """Return weights and biases of a point in these coordinates."""
        v_DL = torch.from_numpy(flat).to(self.scale_L.device).view(-1, len(self.scale_L))
        turned_DL = self.scale_DL * v_DL[:-1]
        return self.axes_DD @ turned_DL, self.scale_L * v_DL[-1] - (self.centre_DL * turned_DL).sum(dim=0)

    def slope(self, slope_DL: Float64[Tensor, "D L"], slope_L: Float64[Tensor, "L"]) -> Float64[np.ndarray, "n"]:
        """Return the gradient in these coordinates, of that in weights and biases."""
        turned_DL = self.axes_DD.T @ slope_DL - self.centre_DL * slope_L
        return torch.cat([self.scale_DL * turned_DL, (self.scale_L * slope_L)[None]]).flatten().cpu().numpy()


@dataclass(frozen=True)
class _Problem:
    """(Sum of the losses of the clips of `parts`) + |weights|^2 / (2 C)."""

    block: Block
    parts: Sequence[Int64[np.ndarray, "..."]]
    C: float
    single_label: bool

    def value(
        self, weights_DL: Float64[Tensor, "D L"], bias_L: Float64[Tensor, "L"]
    ) -> tuple[float, Float64[Tensor, "D L"], Float64[Tensor, "L"]]:
        """Return the objective and its gradient."""
        slope_DL, slope_L = weights_DL / self.C, torch.zeros_like(bias_L)
        total = weights_DL.square().sum() / (2 * self.C)
        for part in self.parts:
            x_BD, y_BL = self.block(part)
            z_BL = torch.addmm(bias_L.float(), x_BD, weights_DL.float())
            if self.single_label:
                total += z_BL.logsumexp(dim=1).sum(dtype=torch.float64)
            else:
                total += nn.functional.softplus(z_BL).sum(dtype=torch.float64)
            total -= (z_BL * y_BL).sum(dtype=torch.float64)
            slope_BL = self._shares(z_BL).sub_(y_BL)
            slope_DL += x_BD.T @ slope_BL
            slope_L += slope_BL.sum(dim=0)
        return float(total), slope_DL, slope_L

    def curvature(
        self,
        weights_DL: Float64[Tensor, "D L"],
        bias_L: Float64[Tensor, "L"],
        axes_DD: Float64[Tensor, "D D"],
        times: float = 1.0,
    ) -> _Coordinates:
        """Return coordinates in which `times` the losses bend by 1 along every axis, each label by itself.

        The centre of a label is the mean of the features, a clip counting by how unsure the label is of it.
        """
        mass_L, first_DL, second_DL = torch.zeros_like(bias_L), *torch.zeros(2, *weights_DL.shape).to(weights_DL)
        for part in self.parts:
            x_BD, _ = self.block(part)
            share_BL = self._shares(torch.addmm(bias_L.float(), x_BD, weights_DL.float()))
            unsure_BL, turned_BD = share_BL * (1 - share_BL), x_BD @ axes_DD.float()
            mass_L += unsure_BL.sum(dim=0)
            first_DL += turned_BD.T @ unsure_BL
            second_DL += turned_BD.square_().T @ unsure_BL
        mass_L = mass_L.clamp(min=1e-3)  # a label that no clip has is sure of all
        bend_DL = (second_DL - first_DL.square() / mass_L).clamp(min=0) * times + 1 / self.C
        return _Coordinates(axes_DD, first_DL / mass_L, bend_DL.rsqrt(), (mass_L * times).rsqrt())

    def _shares(self, z_BL: Float32[Tensor, "B L"]) -> Float32[Tensor, "B L"]:
        return z_BL.softmax(dim=1) if self.single_label else z_BL.sigmoid()


def _minimised(
    problem: _Problem,
    scales: _Coordinates,
    weights_DL: Float64[Tensor, "D L"],
    bias_L: Float64[Tensor, "L"],
    most: int,
) -> tuple[Float64[Tensor, "D L"], Float64[Tensor, "L"], float, bool]:
    """Return where at most `most` passes lead from a point, the objective there, and whether it goes no lower."""
    from scipy import optimize  # a second, which a trained model has no use for

    known = [problem.value(weights_DL, bias_L)]
    # L-BFGS tries a first step of length 1, and the full one is as long as the gradient
    length = float(np.linalg.norm(scales.slope(*known[0][1:])))
    if not length:  # features of 0 and labels alike in number: the optimum, and no direction to go
        return weights_DL, bias_L, known[0][0], True
    scales = replace(scales, scale_DL=scales.scale_DL * length, scale_L=scales.scale_L * length)

    def objective(flat: Float64[np.ndarray, "n"]) -> tuple[float, Float64[np.ndarray, "n"]]:
        value, slope_DL, slope_L = known.pop() if known else problem.value(*scales.point(flat))
        return value, scales.slope(slope_DL, slope_L)

    found = optimize.minimize(
        objective,
        scales.flat(weights_DL, bias_L),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": most, "maxfun": most, "maxcor": MEMORIES, "gtol": 0.0, "ftol": LEAST_GAIN},
    )
    return *scales.point(found.x), float(found.fun), bool(found.success)


def _beginning(sample: _Problem) -> tuple[Float64[Tensor, "D L"], Float64[Tensor, "L"], Float64[Tensor, "D D"]]:
    """Return weights of 0, biases by how frequent the labels are, and the principal axes of the features."""
    blocks = [sample.block(part) for part in sample.parts]
    clips = sum(len(x_BD) for x_BD, _ in blocks)
    positive_L = torch.stack([y_BL.sum(dim=0) for _, y_BL in blocks]).sum(dim=0, dtype=torch.float64)
    mean_D = torch.stack([x_BD.sum(dim=0) for x_BD, _ in blocks]).sum(dim=0) / clips
    moments = torch.stack([(x_BD - mean_D).T @ (x_BD - mean_D) for x_BD, _ in blocks])
    _, axes_DD = torch.linalg.eigh(moments.sum(dim=0, dtype=torch.float64))
    weights_DL = torch.zeros(len(mean_D), len(positive_L), dtype=torch.float64, device=mean_D.device)
    return weights_DL, ((positive_L + 0.5) / (clips + 1)).logit(), axes_DD


def _parts(clips_C: Int64[np.ndarray, "C"]) -> list[Int64[np.ndarray, "..."]]:
    return np.split(clips_C, range(BLOCK_CLIPS, len(clips_C), BLOCK_CLIPS))


def _estimate(seconds_a_clip: float, clips: int, features: int, labels: int) -> str:
    """Return the line that tells what is to come."""
    minutes = seconds_a_clip * clips * USUAL_PASSES / 60
    held = 8 * ((2 * MEMORIES + 12) * (features + 1) * labels + 3 * features**2)  # float64: L-BFGS and its coordinates
    held += 4 * BLOCK_CLIPS * (4 * features + 5 * labels)
    return (
        f"{clips:,} clips, {features:,} features, {labels:,} labels: in blocks of {BLOCK_CLIPS:,} clips, "
        f"about {minutes:.1f} min and {held / 1e9:.1f} GB"
    )
