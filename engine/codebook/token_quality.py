"""What a stream of tokens carries: how it is used, how it moves in time, and what it says about labels.

P positions of all clips, C clips, K tokens, L labels. Information is in bits.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt16


def entropy_bits(counts: Int64[np.ndarray, "..."]) -> float:
    """Return the entropy of a distribution given by counts."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def zipf_slope(counts_K: Int64[np.ndarray, "K"]) -> float:
    """Return the slope of log count over log rank of the used tokens: 0 is even use, -1 is Zipf's law."""
    used = np.sort(counts_K[counts_K > 0])[::-1]
    if len(used) < 2:
        return 0.0
    return float(np.polyfit(np.log(np.arange(1, len(used) + 1)), np.log(used), 1)[0])


def run_lengths(ids_P: UInt16[np.ndarray, "P"], offsets: Int64[np.ndarray, "C1"]) -> Int64[np.ndarray, "runs"]:
    """Return the lengths of all runs of one token, none of which crosses from a clip to the next."""
    begins = np.concatenate([[True], ids_P[1:] != ids_P[:-1]])
    begins[offsets[:-1]] = True
    starts = np.flatnonzero(begins)
    return np.diff(np.append(starts, len(ids_P)))


def entropy_rate_bits(ids_P: UInt16[np.ndarray, "P"], offsets: Int64[np.ndarray, "C1"], clusters: int) -> float:
    """Return H(next token | token), from the bigrams within clips. Few clips flatter it: unseen bigrams count as 0."""
    within = np.ones(len(ids_P) - 1, bool)
    within[offsets[1:-1] - 1] = False
    pairs = ids_P[:-1][within].astype(np.int64) * clusters + ids_P[1:][within]
    _, counts = np.unique(pairs, return_counts=True)
    before = np.bincount(ids_P[:-1][within], minlength=clusters)
    return entropy_bits(counts) - entropy_bits(before)


def label_information_bits(
    ids_P: UInt16[np.ndarray, "P"],
    offsets: Int64[np.ndarray, "C1"],
    targets_CL: Bool[np.ndarray, "C L"],
    clusters: int,
) -> float:
    """Return what one token tells about its clip's labels: I(token; label) where every clip has one label.

    With several labels a clip, the sum over labels of I(token; has the label), which can exceed what they tell jointly.
    """
    clip_P = np.repeat(np.arange(len(targets_CL)), np.diff(offsets))
    joint_KL = np.stack([np.bincount(ids_P[has_P], minlength=clusters) for has_P in targets_CL[clip_P].T], axis=1)
    if (targets_CL.sum(axis=1) == 1).all():
        return _information(joint_KL)
    all_K = np.bincount(ids_P, minlength=clusters)
    return sum(_information(np.stack([with_K, all_K - with_K], axis=1)) for with_K in joint_KL.T)


def variance_explained(x_ND: np.ndarray, centroids_ND: np.ndarray) -> float:
    """Return the share of the vectors' variance that their centroids leave no more of: 1 is all."""
    left = ((x_ND - centroids_ND).astype(np.float64) ** 2).sum()
    return float(1 - left / ((x_ND - x_ND.mean(axis=0)).astype(np.float64) ** 2).sum())


def _information(joint: Int64[np.ndarray, "K L"] | Float64[np.ndarray, "K L"]) -> float:
    return entropy_bits(joint.sum(axis=0)) + entropy_bits(joint.sum(axis=1)) - entropy_bits(joint)
