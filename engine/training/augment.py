"""What is done to a training batch before the model sees it, so that few clips teach more.

Axes: B batch, T positions or frames, Q token streams (or twice as many ids a position, of two blended clips), F mel
bands, L labels.

Every function takes its draws from a generator of (seed, step, process), so that a resumed training repeats them.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from audio_tokens.engine.clips.batch import Batch
from audio_tokens.engine.systems.tagger import TokenEmbedding
from audio_tokens.engine.train_config import TrainConfig

SPAN = 8  # longest run of positions that are masked together


def augmented(batch: Batch, config: TrainConfig, mask_ids: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Return the batch with `config`'s roll, crop, dropped spans, mixing and masking applied, in this order.

    `mask_ids` are the MASK of each token stream; empty for mel. Padding stays padding.
    """
    if config.roll:
        batch = rolled(batch, rng)
    if config.crop < 1:
        batch = cropped(batch, config.crop, mask_ids, rng)
    if config.drop_spans:
        batch = dropped(batch, config.drop_spans, mask_ids, rng)
    if config.mix and len(batch.lengths_B) > 1 and rng.random() < config.mix:
        if not mask_ids:
            batch = mixed_mel(batch, rng)
        else:
            batch = mixed_tokens(batch, rng) if config.mix_kind == "tokens" else mixed_embeddings(batch, rng)
    if config.mask:
        batch = masked_tokens(batch, config.mask, mask_ids, rng) if mask_ids else masked_mel(batch, config.mask, rng)
    return batch


def rolled(batch: Batch, rng: np.random.Generator) -> Batch:
    """Begin every clip somewhere in its middle and let its head follow its tail."""
    lengths = batch.lengths_B.numpy()
    steps_BT = np.arange(batch.input.shape[1])[None].repeat(len(lengths), axis=0)
    shift_B1 = rng.integers(0, lengths)[:, None]
    source_BT = np.where(steps_BT < lengths[:, None], (steps_BT + shift_B1) % lengths[:, None], steps_BT)
    device = batch.input.device
    rows = torch.arange(len(lengths), device=device)[:, None], torch.from_numpy(source_BT).to(device)
    return _each(batch, lambda x_BT: x_BT[rows])


def cropped(batch: Batch, share: float, mask_ids: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Keep one run of every clip, `share` of its positions (rounded up), which costs as much less to train on."""
    lengths = batch.lengths_B.numpy()
    kept_B = np.ceil(share * lengths).astype(np.int64)
    start_B1 = rng.integers(0, lengths - kept_B + 1)[:, None]
    steps_T = np.arange(batch.input.shape[1])
    return _left(batch, (start_B1 <= steps_T) & (steps_T < start_B1 + kept_B[:, None]), mask_ids)


def dropped(batch: Batch, share: float, mask_ids: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Cut about `share` of every clip's positions out, in spans of 1 to SPAN: what is left follows on, and is shorter.

    One position of a clip is always left.
    """
    lengths = batch.lengths_B.numpy()
    real_BT = np.arange(batch.input.shape[1]) < lengths[:, None]
    left_BT = real_BT & ~spans(lengths, batch.input.shape[1], share, rng)
    lucky_B = rng.integers(0, lengths)
    bare_B = ~left_BT.any(axis=1)
    left_BT[bare_B, lucky_B[bare_B]] = True
    return _left(batch, left_BT, mask_ids)


def mixed_tokens(batch: Batch, rng: np.random.Generator) -> Batch:
    """Replace one run of every clip by another clip's, and mix their labels by what each has left of the clip.

    As CutMix does with patches (Yun et al. 2019). The run's share of the clip is uniform in 0..1.
    """
    lengths = batch.lengths_B.numpy()
    other = np.roll(np.arange(len(lengths)), 1)  # batches are shuffled: the neighbour is a random clip
    share = rng.random(len(lengths))
    run = np.minimum(np.round(share * lengths), lengths[other]).astype(np.int64)
    start = rng.integers(0, lengths - run + 1)
    steps_T = np.arange(batch.input.shape[1])
    taken_BT = (steps_T >= start[:, None]) & (steps_T < (start + run)[:, None])
    source_BT = np.where(taken_BT, steps_T - start[:, None], 0)
    device = batch.input.device
    other_B, source, taken = (torch.from_numpy(x).to(device) for x in (other, source_BT, taken_BT))
    keep_B1 = torch.from_numpy(1 - run / lengths).float().to(device)[:, None]
    mixed = _each(batch, lambda x_BT: torch.where(taken[..., None], x_BT[other_B[:, None], source], x_BT))
    return mixed._replace(targets=keep_B1 * batch.targets + (1 - keep_B1) * batch.targets[other_B])


def mixed_embeddings(batch: Batch, rng: np.random.Generator) -> Batch:
    """Let every position of a clip be its own token and another clip's at once, one share a clip (mixup on embeddings).

    Embedding is linear, so blending is a weighted sum over both clips' ids, which `weights_BTQ` beside them tell
    TokenEmbedding. A clip keeps its own length and the larger share of Beta(0.5, 0.5); where the other one has ended,
    it stands alone, and the other's labels count by its mean share over all positions.
    """
    lengths, streams = batch.lengths_B.numpy(), batch.input.shape[2]
    other = np.roll(np.arange(len(lengths)), 1)
    drawn_B = rng.beta(0.5, 0.5, len(lengths))
    shared_BT = np.arange(batch.input.shape[1]) < np.minimum(lengths, lengths[other])[:, None]
    theirs_BT = np.minimum(drawn_B, 1 - drawn_B)[:, None] * shared_BT
    theirs_B1 = torch.from_numpy(theirs_BT.sum(axis=1) / lengths).float().to(batch.targets.device)[:, None]
    theirs_BT1 = torch.from_numpy(theirs_BT).float().to(batch.input.device)[..., None]
    beside = {name: (1 - theirs_BT1) * x_BT + theirs_BT1 * x_BT[other] for name, x_BT in batch.beside.items()}
    weights_BTQ = torch.cat([(1 - theirs_BT1).expand(-1, -1, streams), theirs_BT1.expand(-1, -1, streams)], dim=2)
    return batch._replace(
        input=torch.cat([batch.input, batch.input[other]], dim=2),
        targets=(1 - theirs_B1) * batch.targets + theirs_B1 * batch.targets[other],
        beside=beside | {"weights_BTQ": weights_BTQ},
    )


def mixed_mel(batch: Batch, rng: np.random.Generator) -> Batch:
    """Blend every clip with another one and their labels alike (mixup, Zhang et al. 2018; Beta(0.5, 0.5))."""
    other = torch.arange(len(batch.lengths_B)).roll(1)
    keep_B = torch.from_numpy(rng.beta(0.5, 0.5, len(other))).float()
    keep_B = torch.maximum(keep_B, 1 - keep_B)  # a clip keeps its own length, so it should stay the louder one
    k = keep_B[:, None, None]
    real_BT1 = (torch.arange(batch.input.shape[1]) < batch.lengths_B[:, None])[..., None]
    targets_BL = keep_B[:, None] * batch.targets + (1 - keep_B[:, None]) * batch.targets[other]
    return batch._replace(input=(k * batch.input + (1 - k) * batch.input[other]) * real_BT1, targets=targets_BL)


def masked_tokens(batch: Batch, share: float, mask_ids: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Put MASK in place of about `share` of every clip's positions, in spans of 1 to SPAN, on all streams.

    The mel of hidden positions, where there is any beside the tokens, is blanked.
    """
    device = batch.input.device
    hidden_BT1 = torch.from_numpy(spans(batch.lengths_B.numpy(), batch.input.shape[1], share, rng)).to(device)[
        ..., None
    ]
    mask_Q = torch.tensor(mask_ids, device=device).repeat(batch.input.shape[2] // len(mask_ids))
    beside = dict(batch.beside)
    if "slices_BTD" in beside:
        beside["slices_BTD"] = beside["slices_BTD"].masked_fill(hidden_BT1, 0)
    return batch._replace(input=torch.where(hidden_BT1, mask_Q, batch.input), beside=beside)


def masked_mel(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Blank two runs of frames and two of bands of every clip, each up to `share` of them (SpecAugment, 2019)."""
    mel_BTF: Tensor = batch.input.clone()
    bands = mel_BTF.shape[2]
    for row, length in enumerate(batch.lengths_B.tolist()):
        for _ in range(2):
            wide = int(rng.integers(0, int(share * length) + 1))
            start = int(rng.integers(0, length - wide + 1))
            mel_BTF[row, start : start + wide] = 0
            high = int(rng.integers(0, int(share * bands) + 1))
            low = int(rng.integers(0, bands - high + 1))
            mel_BTF[row, :, low : low + high] = 0
    return batch._replace(input=mel_BTF)


def spans(lengths_B: np.ndarray, longest: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Return bool [B, longest]: spans of 1 to SPAN positions that cover about `share` of every clip, none beyond it."""
    begin_BT = rng.random((len(lengths_B), longest)) < -np.log1p(-share) / ((SPAN + 1) / 2)
    run_BT = rng.integers(1, SPAN + 1, begin_BT.shape)
    steps_T = np.arange(longest)
    ends_BT = np.maximum.accumulate(np.where(begin_BT, steps_T + run_BT, 0), axis=1)
    return (steps_T < ends_BT) & (steps_T < lengths_B[:, None])


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with everything that has a row per position changed alike."""
    return batch._replace(
        input=change(batch.input), beside={name: change(array) for name, array in batch.beside.items()}
    )


def _left(batch: Batch, left_BT: np.ndarray, mask_ids: tuple[int, ...]) -> Batch:
    """Return the batch with only those positions of its clips that are left, one after the other, and padding after."""
    lengths, device = left_BT.sum(axis=1), batch.input.device
    source_BT = np.argsort(~left_BT, axis=1, kind="stable")[:, : lengths.max()]
    rows = torch.arange(len(lengths), device=device)[:, None], torch.from_numpy(source_BT).to(device)
    padding_BT1 = torch.from_numpy(np.arange(lengths.max()) >= lengths[:, None])[..., None].to(device)
    shorter = _each(batch, lambda x_BT: x_BT[rows].masked_fill(padding_BT1, 0))
    if mask_ids:
        pad_Q = torch.tensor(mask_ids, device=device) + (TokenEmbedding.PAD - TokenEmbedding.MASK)
        shorter = shorter._replace(input=torch.where(padding_BT1, pad_Q, shorter.input))
    return shorter._replace(lengths_B=torch.from_numpy(lengths))
