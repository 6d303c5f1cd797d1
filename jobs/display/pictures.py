"""Pictures of what the project makes, each a matplotlib figure: mel, tokens, centroids, curves, bars.

Axes: T frames, F mel bands, K centroids, W windows, L labels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Integer
from matplotlib.figure import Figure

# Okabe-Ito: told apart with any colour vision; one colour a system.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F")


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure in the project's layout, sizes in inches."""
    return Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")


def mel_over_decoded(
    mel_TF: Float[np.ndarray, "T F"], decoded_TF: Float[np.ndarray, "T F"], title: str, frame_s: float
) -> Figure:
    """Return a clip's mel (dB) over the mel decoded from its tokens, on one colour scale; `frame_s` seconds a frame."""
    figure = new_figure(9, 4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    low, high = float(mel_TF.min()), float(mel_TF.max())
    for axes, picture_TF, name in ((above, mel_TF, "mel"), (below, decoded_TF, "mel decoded from tokens")):
        image = axes.imshow(
            picture_TF.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=low,
            vmax=high,
            extent=(0.0, picture_TF.shape[0] * frame_s, 0, picture_TF.shape[1]),
        )
        axes.set_ylabel("mel band")
        axes.set_title(name if axes is below else f"{title}: {name}", loc="left", fontsize=10)
    below.set_xlabel("seconds")
    figure.colorbar(image, ax=[above, below], label="dB")
    return figure


def rank_frequency(counts_K: Int[np.ndarray, "K"], title: str) -> Figure:
    """Return token counts against their rank, both on log axes: a straight line would be Zipf's law."""
    figure = new_figure(4.6, 3.4)
    axes = figure.subplots()
    used = np.sort(counts_K[counts_K > 0])[::-1]
    axes.loglog(np.arange(1, len(used) + 1), used, color=COLOURS[0], linewidth=2)
    axes.set_xlabel("rank")
    axes.set_ylabel("times used")
    axes.set_title(f"{title}: {len(used)} of {len(counts_K)} tokens used", loc="left", fontsize=10)
    axes.grid(True, which="major", alpha=0.3)
    return figure


def centroid_patches(
    slices_KTF: Float[np.ndarray, "K T F"], counts_K: Int[np.ndarray, "K"], title: str, most: int = 120
) -> Figure:
    """Return the mean mel slice of the `most` used centroids, sorted by centre frequency, left to right and down."""
    chosen = np.argsort(counts_K)[::-1][:most]
    patches_KTF = slices_KTF[chosen]
    # Weights above the slice's own floor, so that the centre is where the energy is, not where the bands are.
    weight_KF = patches_KTF.mean(axis=1) - patches_KTF.mean(axis=1).min(axis=1, keepdims=True)
    centre_K = (weight_KF * np.arange(weight_KF.shape[1])).sum(axis=1) / np.maximum(weight_KF.sum(axis=1), 1e-9)
    columns = min(20, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(9, 0.4 + 0.72 * rows)
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in grid:
        axes.set_axis_off()
    low, high = np.percentile(patches_KTF, [1, 99])
    for axes, patch in zip(grid, np.argsort(centre_K), strict=False):
        axes.imshow(patches_KTF[patch].T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    return figure


def token_strip(
    ids_PQ: Integer[np.ndarray, "P Q"], vocab_sizes: Sequence[int], title: str, position_s: float
) -> Figure:
    """Return a clip's tokens as coloured strips, one per stream: equal tokens have equal colours."""
    positions, streams = ids_PQ.shape
    figure = new_figure(9, 0.9 + 0.5 * streams)
    rows = figure.subplots(streams, 1, sharex=True, squeeze=False)[:, 0]
    for stream, axes in enumerate(rows):
        # The golden ratio scatters neighbouring ids over the whole colour circle.
        hues_1P = (ids_PQ[None, :, stream] * 0.618034) % 1
        axes.imshow(hues_1P, aspect="auto", cmap="hsv", vmin=0, vmax=1, extent=(0.0, positions * position_s, 0, 1))
        axes.set_yticks([])
        axes.set_ylabel(f"{len(np.unique(ids_PQ[:, stream]))} of {vocab_sizes[stream]}", rotation=0, ha="right")
    rows[0].set_title(f"{title}: tokens", loc="left", fontsize=10)
    rows[-1].set_xlabel("seconds")
    return figure


def timeline(
    starts_s_W: Float[np.ndarray, "W"],
    window_s: float,
    scores_WL: Float[np.ndarray, "W L"],
    labels: Sequence[str],
    title: str,
    most: int = 8,
) -> Figure:
    """Return the probability over time of the `most` labels that rise highest, each window drawn at its middle."""
    figure = new_figure(9, 3.2)
    axes = figure.subplots()
    for colour, label in zip(COLOURS, np.argsort(-scores_WL.max(axis=0), kind="stable")[:most], strict=False):
        marker = "o" if len(starts_s_W) < 3 else None
        axes.plot(starts_s_W + window_s / 2, scores_WL[:, label], label=labels[label], color=colour, marker=marker)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("seconds")
    axes.set_ylabel("probability")
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
