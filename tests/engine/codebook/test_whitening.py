import numpy as np

from audio_tokens.engine.codebook.nearest.protocol import unit_length
from audio_tokens.engine.codebook.whitening import fit_whitening, mean_and_covariance, moments


def fitted(x_ND, **settings):
    found = mean_and_covariance(*moments(x_ND))
    return fit_whitening(*found, **{"variance": 1.0, "dims": None, "floor": 0.0} | settings)


def correlated(n=4000, d=6):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 7).astype(np.float32)


def test_whitened_vectors_are_centred_uncorrelated_and_of_unit_variance():
    x_ND = correlated()
    y_NE = fitted(x_ND)(x_ND).astype(np.float64)
    assert np.abs(y_NE.mean(axis=0)).max() < 1e-3
    assert np.abs(np.cov(y_NE.T, bias=True) - np.eye(6)).max() < 1e-3


def test_moments_of_blocks_add_up_to_those_of_all():
    x_ND = correlated()
    parts = [moments(block) for block in np.array_split(x_ND, 7)]
    for total, parts_of_it in zip(moments(x_ND), zip(*parts, strict=True), strict=True):
        assert np.allclose(total, sum(parts_of_it), rtol=1e-12)


def test_dimensions_are_kept_by_share_or_by_number():
    x_ND = np.random.default_rng(1).normal(size=(5000, 3)).astype(np.float32) * np.float32([10, 3, 1])
    assert [fitted(x_ND, variance=share).matrix_DE.shape[1] for share in (0.5, 0.95, 0.999)] == [1, 2, 3]
    assert fitted(x_ND, dims=2).matrix_DE.shape[1] == 2
    assert fitted(x_ND, dims=9).matrix_DE.shape[1] == 3


def test_the_floor_keeps_small_axes_small():
    x_ND = np.random.default_rng(1).normal(size=(5000, 2)).astype(np.float32) * np.float32([1, 1e-4])
    deviations = fitted(x_ND, floor=1e-3)(x_ND).std(axis=0)
    assert abs(deviations[0] - 1) < 0.01
    assert deviations[1] < 0.01


def test_data_that_do_not_vary_become_zeros():
    x_ND = np.full((9, 3), 2.5, np.float32)
    y_NE = fitted(x_ND)(x_ND)
    assert not y_NE.any()
    assert not unit_length(y_NE).any()


def test_what_varies_within_views_becomes_white_and_what_varies_most_after_that_is_kept():
    x_ND = correlated()
    apart_ND = correlated(d=7)[:, :6] - 7
    mean_D, covariance_DD = mean_and_covariance(*moments(x_ND))
    within_DD = apart_ND.T.astype(np.float64) @ apart_ND / len(apart_ND)
    options = {"floor": 0.0, "within_DD": within_DD}
    whole = fit_whitening(mean_D, covariance_DD, variance=1.0, dims=None, **options)
    assert np.abs(whole.matrix_DE.T @ within_DD @ whole.matrix_DE - np.eye(6)).max() < 1e-3
    variances_E = np.var(whole(x_ND), axis=0, dtype=np.float64)
    assert (np.diff(variances_E) < 0).all()
    half = fit_whitening(mean_D, covariance_DD, variance=0.95, dims=None, **options)
    keep = half.matrix_DE.shape[1]
    assert keep < 6
    assert np.array_equal(half.matrix_DE, whole.matrix_DE[:, :keep])
    assert variances_E[:keep].sum() >= 0.95 * variances_E.sum() > variances_E[: keep - 1].sum()
