"""What a model says of clips, and how well: the same to the last clip on any number of processes.

Axes: C clips, B batch, L labels.
"""

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Float32
from torch import nn

from audio_tokens.engine.clips.device_clips import where_they_train
from audio_tokens.engine.clips.table import Clips
from audio_tokens.engine.scores.metrics import Scores, score
from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.world import tf32, unwrapped

EVALUATION_BATCH_CLIPS = 64  # fixed: what a clip scores must not depend on how it was trained


def evaluate(model: nn.Module, clips: Clips, accelerator: Accelerator, views: bool = False) -> tuple[Scores, float]:
    """Return the figures of `model` on `clips` and the mean loss of a clip, the same on any number of processes."""
    scores_CL, losses_C = predict(model, clips, accelerator, views)
    return score(scores_CL, clips.labels.table()), float(losses_C.mean(dtype=np.float64))


def predict(
    model: nn.Module, clips: Clips, accelerator: Accelerator, views: bool = False
) -> tuple[Float32[np.ndarray, "C L"], Float32[np.ndarray, "C"]]:
    """Return the scores of every clip (log-probabilities of the softmax, or logits of sigmoids) and its loss, in fp32.

    On a CUDA device products of matrices are TF32's (see world.tf32).
    With `views` both are means over the clip and its views, as far as there are any.
    """
    clips = where_they_train(clips, accelerator.device)
    versions = clips.versions() if views else [clips]
    with tf32(accelerator.device):
        scores, losses = zip(*(_predict(model, version, accelerator) for version in versions), strict=True)
    return np.mean(scores, axis=0), np.mean(losses, axis=0)


@torch.no_grad()
def _predict(
    model: nn.Module, clips: Clips, accelerator: Accelerator
) -> tuple[Float32[np.ndarray, "C L"], Float32[np.ndarray, "C"]]:
    """Return the scores and losses of clips in one version.

    Batches are the same on any number of processes, each is one process's alone, and none waits for another inside
    the loop. The clips are then gathered by position; one that came back twice or never is our own bug.
    """
    model.eval()
    tagger: Tagger = unwrapped(model)
    by_length_C = np.argsort(clips.lengths_C, kind="stable")  # little padding, and batches that are given by the clips
    parts = np.split(by_length_C, range(EVALUATION_BATCH_CLIPS, len(clips), EVALUATION_BATCH_CLIPS))
    mine = parts[accelerator.process_index :: accelerator.num_processes]
    scores_CL = torch.zeros(len(clips), clips.labels.count)
    losses_C, seen_C = torch.zeros(len(clips)), torch.zeros(len(clips))
    for part, batch in zip(mine, clips.batches(mine), strict=True):
        batch = batch.to(accelerator.device)
        logits_BL = tagger(batch.input, batch.lengths_B, **batch.beside)
        losses_C[part] = tagger.losses(logits_BL, batch.targets).cpu()
        scores_CL[part] = (logits_BL.log_softmax(dim=1) if tagger.config.single_label else logits_BL).cpu()
        seen_C[part] += 1
    gathered = [accelerator.reduce(x.to(accelerator.device), "sum").cpu() for x in (scores_CL, losses_C, seen_C)]
    assert bool((gathered[2] == 1).all()), "every clip is scored exactly once"
    return gathered[0].numpy(), gathered[1].numpy()
