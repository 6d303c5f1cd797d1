"""Who sees which clip when, as a training's configuration asks: the plan of `shards` in the form the loop takes."""

import numpy as np

from audio_tokens.engine.clips.table import Clips, Stored
from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.clip_weights import clip_weights
from audio_tokens.engine.training.loop import met_in
from audio_tokens.engine.training.run_context import Order
from audio_tokens.shards.plan import POOL_CLIPS, bucketed_order, epoch_order, rank_batch, weighted_order, windowed_order


def order_of(config: TrainConfig, clips: Clips) -> Order:
    """Return the order of `clips`: every one once an epoch or drawn by weight, of any length or sorted into buckets."""
    stored = isinstance(clips.rows, Stored)
    once = windowed_order if stored else epoch_order
    weights_C = clip_weights(clips.labels) if config.sampling == "weighted" else None

    def epoch(count: int, seed: int, number: int) -> np.ndarray:
        order_C = (
            once(count, seed, number) if weights_C is None else weighted_order(count, seed, number, weights_C=weights_C)
        )
        if not config.bucketing:
            return order_C
        lengths_C = met_in(clips, seed, number).lengths_C
        pool_clips = POOL_CLIPS if stored and weights_C is None else None  # draws have no neighbours to keep together
        return bucketed_order(
            order_C, seed, number, lengths_C=lengths_C, batch_clips=config.batch_clips, pool_clips=pool_clips
        )

    return Order(epoch=epoch, part=rank_batch)
