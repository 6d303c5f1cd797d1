"""Laws of token vectors: those that begin from centroids lie as these do; a weighted sum of one clip is that clip."""

import numpy as np
import pytest
import torch

from audio_tokens.engine.systems.registry import SYSTEMS
from audio_tokens.engine.systems.tagger import TokenEmbedding
from audio_tokens.errors import UserError
from tests.engine.systems.test_systems import VARIANTS, clips, fresh, logits

# those that are solved at once have no steps in which clips could be blended; a bag beside others votes after training
TRAINED_ON_TOKENS = [
    name
    for name, (system, options) in VARIANTS.items()
    if "tokens" in SYSTEMS[system].reads and not SYSTEMS[system].solved and not options.get("bag")
]


def distances(x_KD: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x_KD.double(), x_KD.double(), compute_mode="donot_use_mm_for_euclid_dist")


def neighbours(x_KD: torch.Tensor) -> torch.Tensor:
    """The three nearest others of every row, nearest first."""
    return distances(x_KD).fill_diagonal_(torch.inf).argsort(dim=1)[:, :3]


def begun(centroids: list[np.ndarray], width: int) -> list[torch.Tensor]:
    """Every stream's token vectors, begun from its centroids."""
    torch.manual_seed(1)
    embed = TokenEmbedding([len(c) for c in centroids], width)
    own = torch.cat([embed.first_Q + embed.special_Q + which for which in (embed.PAD, embed.CLS, embed.MASK)])
    before = embed.table.weight[own].clone()
    embed.start_from(centroids)
    assert torch.equal(embed.table.weight[own], before), "PAD, CLS and MASK have no centroid"
    rows = zip(embed.first_Q.tolist(), centroids, strict=True)
    return [embed.table.weight[first : first + len(c)].detach() for first, c in rows]


@pytest.mark.parametrize(("dims", "rank"), [(10, 10), (24, 24), (100, 20)], ids=["fewer", "as many", "a subspace"])
def test_tokens_lie_as_their_centroids_do(dims: int, rank: int) -> None:
    """Where the width holds all dimensions that centroids span, distances are kept but for one factor a stream."""
    rng = np.random.default_rng(0)
    made = [rng.normal(size=(k, rank)) @ np.linalg.qr(rng.normal(size=(dims, rank)))[0].T for k in (60, 40)]
    centroids = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in made]
    for centroids_KD, vectors_KW in zip(centroids, begun(centroids, 24), strict=True):
        assert torch.equal(neighbours(vectors_KW), neighbours(torch.from_numpy(centroids_KD)))
        assert vectors_KW.std().item() == pytest.approx(TokenEmbedding.SPREAD, rel=1e-4)
        apart = ~torch.eye(len(vectors_KW), dtype=torch.bool)
        factors = (distances(vectors_KW) / distances(torch.from_numpy(centroids_KD)))[apart]
        assert factors.max() / factors.min() == pytest.approx(1.0, abs=1e-4)


def test_a_narrow_table_keeps_the_principal_axes() -> None:
    """Distances are those in scikit-learn's principal components, but for one factor."""
    from sklearn.decomposition import PCA

    x_KD = (np.random.default_rng(0).normal(size=(80, 30)) * np.geomspace(1, 0.01, 30)).astype(np.float32)
    expected = distances(torch.from_numpy(PCA(8).fit_transform(x_KD)))
    found = distances(begun([x_KD], 8)[0])
    torch.testing.assert_close(found / found.max(), expected / expected.max(), atol=1e-5, rtol=0)


def test_streams_do_not_share_their_axes() -> None:
    """Equal centroids in two streams lie elsewhere: a sum of them must tell which stream said what."""
    x_KD = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    one, other = begun([x_KD, x_KD], 48)
    axes = [torch.linalg.svd(x.double(), full_matrices=False)[2][:6] for x in (one, other)]
    assert torch.linalg.svdvals(axes[0] @ axes[1].T).mean() < 0.6


def test_centroids_of_other_tokens_are_refused() -> None:
    with pytest.raises(UserError, match=r"\[9\] centroids for tokens of \[12\]"):
        TokenEmbedding([12], 4).start_from([np.zeros((9, 3), np.float32)])
    constant = begun([np.ones((5, 3), np.float32)], 4)[0]
    assert torch.isfinite(constant).all()


@pytest.mark.parametrize("variant", TRAINED_ON_TOKENS)
def test_a_clip_blended_with_nothing_is_itself(variant: str) -> None:
    """A second clip that weighs nothing changes no logits, one that does, does: in every system trained on tokens."""
    model, batch = fresh(variant), clips(variant, [20, 9], 20)
    twice = torch.cat([batch.input, batch.input.flip(0)], dim=2)
    both = torch.ones_like(twice, dtype=torch.float32)
    alone = both.clone()
    alone[..., 2:] = 0
    with torch.no_grad():
        found = model(twice, batch.lengths_B, **batch.beside, weights_BTQ=alone)
        torch.testing.assert_close(found, logits(model, batch), atol=1e-5, rtol=1e-4)
        assert (model(twice, batch.lengths_B, **batch.beside, weights_BTQ=both) - found).abs().max() > 1e-4


@pytest.mark.parametrize("system", ["token-linear", "token-lstm", "token-bert", "hybrid-bert"])
def test_the_option_chooses_where_tokens_begin(system: str) -> None:
    model = fresh(system)
    centroids = [np.random.default_rng(k).normal(size=(k, 6)).astype(np.float32) for k in model.config.vocab_sizes]
    before = model.embed.table.weight.clone()
    model.initialise(centroids)
    assert torch.equal(model.embed.table.weight, before), "drawn, unless the option says centroids"
    model.config.options["embedding"] = "centroids"
    model.initialise(centroids)
    first = model.embed.table.weight[: len(centroids[0])]
    assert torch.equal(neighbours(first.detach()), neighbours(torch.from_numpy(centroids[0])))
