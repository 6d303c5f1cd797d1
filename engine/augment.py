"""What is done to a training batch before the model sees it, so that few clips teach more.

Axes: B batch, T positions or frames, Q token streams, F mel bands, L labels.

Every function takes its draws from a generator of (seed, step, process), so that a resumed training repeats them.
"""

import numpy as np
import torch
from torch import Tensor

from engine.clips import Batch
from engine.train_config import TrainConfig

SPAN = 8  # longest run of positions that are masked together


def augmented(batch: Batch, config: TrainConfig, mask_ids: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Return the batch with `config`'s roll, mixing and masking applied, in this order.

    `mask_ids` are the MASK of each token stream; empty for mel. Padding stays padding.
    """
    if config.roll:
        batch = rolled(batch, rng)
    if config.mix and len(batch.lengths_B) > 1 and rng.random() < config.mix:
        batch = mixed_tokens(batch, rng) if mask_ids else mixed_mel(batch, rng)
    if config.mask:
        batch = masked_tokens(batch, config.mask, mask_ids, rng) if mask_ids else masked_mel(batch, config.mask, rng)
    return batch


def rolled(batch: Batch, rng: np.random.Generator) -> Batch:
    """Begin every clip somewhere in its middle and let its head follow its tail."""
    lengths = batch.lengths_B.numpy()
    steps_BT = np.arange(batch.input.shape[1])[None].repeat(len(lengths), axis=0)
    shift_B1 = rng.integers(0, lengths)[:, None]
    source_BT = np.where(steps_BT < lengths[:, None], (steps_BT + shift_B1) % lengths[:, None], steps_BT)
    return batch._replace(input=batch.input[torch.arange(len(lengths))[:, None], torch.from_numpy(source_BT)])


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
    theirs = batch.input[torch.from_numpy(other)[:, None], torch.from_numpy(source_BT)]
    keep_B1 = torch.from_numpy(1 - run / lengths).float()[:, None]
    return batch._replace(
        input=torch.where(torch.from_numpy(taken_BT)[..., None], theirs, batch.input),
        targets=keep_B1 * batch.targets + (1 - keep_B1) * batch.targets[torch.from_numpy(other)],
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
    """Put MASK in place of about `share` of every clip's positions, in spans of 1 to SPAN, on all streams."""
    hidden_BT = torch.from_numpy(spans(batch.lengths_B.numpy(), batch.input.shape[1], share, rng))
    return batch._replace(input=torch.where(hidden_BT[..., None], torch.tensor(mask_ids), batch.input))


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
