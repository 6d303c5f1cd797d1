"""Shuffled batches of token clips assembled from memory, beside a loop over samples with a collate function.

Expected before measuring, one core, clips of 215 positions with 527 labels: 400,000 to 600,000 clips/s (a gather of 215
16-bit numbers, their widening to 64 bits and a row of 527 targets, 2 us in all); torch's Dataset, sampler and collate
20,000 to 40,000; the floor, one fancy index into a table of equal lengths, 800,000. DeviceRows, which gathers with
torch and is meant for an accelerator, 0.7 times ours on a CPU: its tables of positions are of 64 bits too, but take
more operations. An epoch's order of two million clips sorted into buckets by length takes below a second. C clips, B
batch, T positions.
"""

from itertools import cycle

import numpy as np
import torch

from audio_tokens.engine.clips.device_clips import DeviceRows
from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.clips.token_clips import TokenRows
from audio_tokens.seeds import generator
from audio_tokens.shards.plan import bucketed_order, epoch_order
from benchmarks.harness import FLOOR, Report

POSITIONS, LABELS, BATCH_CLIPS = 215, 527, 64


def bench(report: Report) -> None:
    tokens = token_rows(20_000 if report.quick else 400_000)
    clips = Clips.of(tokens)
    order_C = epoch_order(len(clips), seed=0, epoch=0)
    parts = [order_C[start : start + BATCH_CLIPS] for start in range(0, len(clips) - BATCH_CLIPS, BATCH_CLIPS)]
    table_CT = tokens.ids_PQ[: len(clips) * 200, 0].reshape(-1, 200)
    ours, theirs, bare, torchs = cycle(parts), cycle(_collated(tokens, parts)), cycle(parts), cycle(parts)
    resident = Clips.of(DeviceRows.on(torch.device("cpu"), tokens))
    contenders = {
        "Clips.batch": lambda: clips.batch(next(ours)),
        "DeviceRows on the CPU": lambda: resident.batch(next(torchs)),
        "torch Dataset and collate": lambda: next(theirs),
        FLOOR + "one gather": lambda: table_CT[next(bare) % len(table_CT)].astype(np.int64),
    }
    race = report.race(f"batches of {BATCH_CLIPS} of {len(clips):,}", contenders, work=BATCH_CLIPS, unit="clips")
    report.bar("clips/s", BATCH_CLIPS / race.median_s("Clips.batch"), at_least=300_000)
    epoch = 200_000 if report.quick else 2_000_000
    lengths_C = generator(0, "bench lengths").integers(50, 216, epoch)
    shuffled_C = epoch_order(epoch, seed=0, epoch=0)
    sort = lambda: bucketed_order(shuffled_C, 0, 0, lengths_C=lengths_C, batch_clips=BATCH_CLIPS)  # noqa: E731
    report.race(
        f"an epoch's order of {epoch:,}", {"bucketed_order": sort}, work=epoch, unit="clips", rounds=3, round_s=0
    )


def token_rows(clips: int, positions: int = POSITIONS, shorter_every: int = 10, shortest: int = 0) -> TokenRows:
    """Return random tokens with one to four labels a clip; every so many clips one is shorter, down to `shortest`."""
    rng = generator(0, "bench tokens")
    lengths_C = np.full(clips, positions, np.int64)
    if shorter_every:
        shorter = lengths_C[::shorter_every]
        shorter[:] = rng.integers(shortest or positions // 2, positions, len(shorter))
    label_counts_C = rng.integers(1, 5, clips)
    return TokenRows(
        ids_PQ=rng.integers(0, 500, (int(lengths_C.sum()), 1), np.uint16),
        starts_R=np.cumsum(lengths_C) - lengths_C,
        lengths_R=lengths_C,
        labels=Labels(
            ids=rng.integers(0, LABELS, int(label_counts_C.sum())),
            starts_C=np.cumsum(label_counts_C) - label_counts_C,
            lengths_C=label_counts_C,
            count=LABELS,
        ),
        keys=[str(number) for number in range(clips)],
        vocab_sizes=(500,),
    )


def _collated(tokens: TokenRows, parts: list[np.ndarray]):
    """Return a DataLoader in this process over the same batches: a sample at a time, then padded together."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from torch.utils.data import DataLoader, Dataset

    class Samples(Dataset):
        def __len__(self) -> int:
            return len(tokens.keys)

        def __getitem__(self, clip: int) -> tuple[torch.Tensor, torch.Tensor]:
            start, labels = tokens.starts_R[clip], tokens.labels
            ids_T = tokens.ids_PQ[start : start + tokens.lengths_R[clip], 0].astype(np.int64)
            targets_L = torch.zeros(LABELS)
            targets_L[labels.ids[labels.starts_C[clip] : labels.starts_C[clip] + labels.lengths_C[clip]]] = 1
            return torch.from_numpy(ids_T), targets_L

    def collate(samples: list[tuple[torch.Tensor, torch.Tensor]]):
        ids, targets = zip(*samples, strict=True)
        lengths_B = torch.tensor([len(ids_T) for ids_T in ids])
        return pad_sequence(list(ids), batch_first=True, padding_value=500), lengths_B, torch.stack(targets)

    return DataLoader(Samples(), batch_sampler=[part.tolist() for part in parts], collate_fn=collate)
