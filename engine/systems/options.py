"""The options of every system, with its own defaults; light, since recipes and `--help` read them.

A system that is trained by steps extends TrainConfig; one that is solved at once has no steps to choose anything about.
"""

from dataclasses import dataclass
from typing import Literal

from audio_tokens.engine.ranges import Count, Layers, LayersOrNone, Natural, NotNegative, Positive, Share, ShareBelow1
from audio_tokens.engine.train_config import StepConfig, TagConfig, TrainConfig
from audio_tokens.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TokenBagOptions(TagConfig):
    """token-bag.

    Args:
        C: inverse strength of L2, as scikit-learn's LogisticRegression counts it
        peaks: read the highest share of each token in the clip beside how frequent it is
    """

    C: Positive = 100.0
    peaks: bool = False


@dataclass(frozen=True, kw_only=True)
class TokenRocketOptions(TokenBagOptions):
    """token-rocket.

    Args:
        kernels: random convolutions over the tokens
        share: weight of their logits beside the bag's
        embedding: what a kernel reads from a token: a drawn number, or the level of its mel in some bands (spectra)
    """

    kernels: Count = 500
    share: Share = 0.5
    embedding: Literal["drawn", "spectra"] = "drawn"


@dataclass(frozen=True, kw_only=True)
class TokenPairsOptions(TokenBagOptions):
    """token-pairs.

    Args:
        groups: that each stream's tokens are put into
        lags: positions between the two tokens of a pair, say [1] or [1, 4]
        embedding: what tokens are grouped by: their centroids, or nothing (drawn)
    """

    groups: Count = 32
    lags: tuple[Count, ...] = (1, 4)
    embedding: Literal["drawn", "centroids"] = "centroids"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.lags:
            raise UserError("lags is []; give the positions between the two tokens of a pair, say [1]")


@dataclass(frozen=True, kw_only=True)
class TokenLinearOptions(TrainConfig):
    """token-linear.

    Args:
        width: dimensions of a token's vector
        dropout: share of the pooled vector
        embedding: what tokens' vectors begin as: drawn, or an image of the codebook's centroids
    """

    width: Count = 128
    dropout: ShareBelow1 = 0.1
    embedding: Literal["drawn", "centroids"] = "drawn"
    epochs: Count = 30
    learning_rate: Positive = 1e-2


@dataclass(frozen=True, kw_only=True)
class TokenLstmOptions(TrainConfig):
    """token-lstm.

    Args:
        width: dimensions each way
        dropout: share of the embeddings and of the pooled vector
        pooling: how positions become one vector; attention has learnt weights
        convolutions: layers of convolutions over neighbouring positions before the LSTM; 0 for none
        bag: let a token-bag that is solved on the same clips vote too; scores are the mean of both
        embedding: what tokens' vectors begin as: drawn, or an image of the codebook's centroids
    """

    width: Count = 96
    dropout: ShareBelow1 = 0.2
    pooling: Literal["first", "mean", "max", "mean-max", "attention"] = "mean-max"
    convolutions: LayersOrNone = 0
    bag: bool = False
    embedding: Literal["drawn", "centroids"] = "drawn"
    learning_rate: Positive = 3e-3


@dataclass(frozen=True, kw_only=True)
class BertOptions(StepConfig):
    """A BERT over the whole clip.

    Args:
        width: dimensions of a hidden vector, a multiple of heads
        layers: transformer layers
        heads: attention heads of a layer
        dropout: share of hidden values; attention itself is not dropped
        positions: learnt, one vector for each position (BERT), or rotary, which knows distances only (ModernBERT)
        conv: positions that a depthwise convolution mixes before attention; 0 for none
    """

    width: Count = 96
    layers: Layers = 2
    heads: Count = 4
    dropout: ShareBelow1 = 0.1
    positions: Literal["learnt", "rotary"] = "learnt"
    conv: Natural = 0
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _divisible(self.width, self.heads)


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(BertOptions):
    """token-bert while it predicts hidden tokens: nothing of this concerns labels.

    Args:
        embedding: what tokens' vectors begin as: drawn, or an image of the codebook's centroids
    """

    embedding: Literal["drawn", "centroids"] = "drawn"


@dataclass(frozen=True, kw_only=True)
class TaggingBertOptions(BertOptions, TrainConfig):
    """A BERT that tags clips.

    Args:
        pooling: how positions become one vector: first is [CLS]
    """

    pooling: Literal["first", "mean", "max", "mean-max", "attention"] = "first"


@dataclass(frozen=True, kw_only=True)
class HybridBertOptions(TaggingBertOptions):
    """hybrid-bert.

    Args:
        embedding: what tokens' vectors begin as: drawn, or an image of the codebook's centroids
    """

    embedding: Literal["drawn", "centroids"] = "drawn"


@dataclass(frozen=True, kw_only=True)
class TokenBertOptions(HybridBertOptions):
    """token-bert.

    Args:
        convolutions: layers of convolutions over neighbouring positions before attention; 0 for none
    """

    convolutions: LayersOrNone = 0


@dataclass(frozen=True, kw_only=True)
class RawBertOptions(TaggingBertOptions):
    """raw-bert.

    Args:
        context: frames of a slice
        stride: frames between slices; several keep a clip's positions few enough for a CPU
    """

    context: Count = 4
    stride: Count = 4


@dataclass(frozen=True, kw_only=True)
class RawLinearOptions(TrainConfig):
    """raw-linear.

    Args:
        width: dimensions of a layer
        context: frames of a slice
        stride: frames between slices
        dropout: share of a layer's output
    """

    width: Count = 128
    context: Count = 4
    stride: Count = 2
    dropout: ShareBelow1 = 0.1


@dataclass(frozen=True, kw_only=True)
class RawCnnOptions(TrainConfig):
    """raw-cnn.

    Args:
        channels: of the first layer; doubled by each that follows
        dropout: share of the pooled vector
    """

    channels: Count = 24
    dropout: ShareBelow1 = 0.2
    epochs: Count = 15
    learning_rate: Positive = 2e-3


@dataclass(frozen=True, kw_only=True)
class RawAstOptions(TrainConfig):
    """raw-ast.

    Args:
        width: dimensions of a hidden vector, a multiple of heads
        layers: transformer layers
        heads: attention heads of a layer
        dropout: share of hidden values
        patch_stride: frames, and bands, between patches of 16 by 16; 10 overlaps by 6
        frames: frames that a clip is padded to; 0 takes those of the longest clip
        weights: a folder with a published checkpoint to start from; empty trains from scratch
    """

    width: Count = 192
    layers: Layers = 4
    heads: Count = 3
    dropout: ShareBelow1 = 0.0
    patch_stride: Count = 10
    frames: Natural = 0
    weights: str = ""
    learning_rate: Positive = 5e-4
    weight_decay: NotNegative = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _divisible(self.width, self.heads)


def _divisible(width: int, heads: int) -> None:
    if width % heads:
        raise UserError(f"width {width} is no multiple of heads {heads}; change either")
