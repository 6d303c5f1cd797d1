"""The figures and pictures of a quality report.

T frames, F mel bands, P positions, Q token streams, K tokens, C clips, L labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.codebook.quantizer import stream_metric
from audio_tokens.engine.codebook.token_quality import (
    entropy_bits,
    entropy_rate_bits,
    label_information_bits,
    run_lengths,
    variance_explained,
    zipf_slope,
)
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.shards.tokens.token_group import TokenGroup
from audio_tokens.shards.tokens.token_store import TokenStore


def stream_figures(store: TokenStore, places: Sequence[str]) -> list[dict[str, Any]]:
    """Return use, movement and label information of every stream over some splits or folds."""
    group = store.group(*places)
    targets_CL, figures = _targets(store, group), []
    for stream, clusters in enumerate(store.vocab_sizes):
        ids_P = group.ids_PQ[:, stream]
        counts_K = np.bincount(ids_P, minlength=clusters)
        runs = run_lengths(ids_P, group.offsets)
        figures.append(
            {
                "tokens": clusters,
                "unused": int((counts_K == 0).sum()),
                "perplexity": 2 ** entropy_bits(counts_K),
                "zipf_slope": zipf_slope(counts_K),
                "mean_run_positions": float(runs.mean()),
                "longest_run_positions": int(runs.max()),
                "entropy_rate_bits": entropy_rate_bits(ids_P, group.offsets, clusters),
                "label_information_bits": label_information_bits(ids_P, group.offsets, targets_CL, clusters),
            }
        )
    return figures


def reconstruction(tokenizer: AudioTokenizer, mels: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return the share of variance that each stream explains, and how far decoded mel is from the clips' (RMS, dB).

    Tokens do not hold a clip's level: once with the mean training clip's level, as decoding gives it, once with the
    clip's own offset and scale put back.
    """
    codebook, quantizer = tokenizer.codebook, tokenizer.quantizer
    steps = [quantizer.walk([quantizer.prepare(mel_TF)]) for mel_TF in mels]
    explained = []
    for index, stream in enumerate(codebook.streams):
        x_ND = np.concatenate([clip[index].x_ND for clip in steps])
        served_ND = np.concatenate([stream.centroids_KD[clip[index].ids_N] for clip in steps])
        if stream_metric(codebook.slices, codebook.metric, index) == "cosine":
            served_ND *= (x_ND * served_ND).sum(axis=1, keepdims=True)  # a direction serves at any length
        explained.append(variance_explained(x_ND, served_ND))
    plain, levelled = [], []
    for mel_TF in mels:
        decoded_TF = tokenizer.decode(tokenizer.encode_mel(mel_TF))[: len(mel_TF)]
        true_TF = mel_TF[: len(decoded_TF)].astype(np.float32)
        plain.append(((decoded_TF - true_TF) ** 2).mean())
        clip = quantizer.prepare(mel_TF)
        own_TF = (decoded_TF - codebook.offset_F) / (codebook.scale or 1) * clip.scale + clip.offset_F
        levelled.append(((own_TF - true_TF) ** 2).mean())
    return {
        "clips_decoded": len(mels),
        "variance_explained": explained,
        "mel_error_db": float(np.sqrt(np.mean(plain))),
        "mel_error_level_known_db": float(np.sqrt(np.mean(levelled))),
    }


def draw(folder: Path, tokenizer: AudioTokenizer, key: str, mel_TF: np.ndarray) -> None:
    """Draw the centroids, the use of tokens, and a clip beside what its tokens decode to."""
    from audio_tokens.jobs.display import pictures

    ids_PQ = tokenizer.encode_mel(mel_TF)
    slices = tokenizer.codebook.slices
    decoded_TF = tokenizer.decode(ids_PQ)[: len(mel_TF)]
    frame_s = tokenizer.mel.hop_samples / tokenizer.mel.rate_hz
    figures = {
        "clip": pictures.mel_over_decoded(mel_TF.astype(np.float32), decoded_TF, key, frame_s),
        "tokens": pictures.token_strip(ids_PQ, tokenizer.vocab_sizes, key, slices.stride * frame_s),
    }
    for index, stream in enumerate(tokenizer.codebook.streams):
        patches_KTF = stream.patches_KM.reshape(len(stream.patches_KM), slices.contexts[index], -1)
        title = f"stream {index + 1}"
        figures[f"centroids-{index + 1}"] = pictures.centroid_patches(patches_KTF, stream.usage_K, title)
        figures[f"rank-frequency-{index + 1}"] = pictures.rank_frequency(stream.usage_K, title)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})


def _targets(store: TokenStore, group: TokenGroup) -> Bool[np.ndarray, "C L"]:
    """Return the labels of a group's clips as a table of truth values."""
    return Labels.one_after_the_other(group.label_ids, np.diff(group.label_offsets), len(store.labels)).table()
