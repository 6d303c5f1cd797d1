import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.engine.codebook.conv_bank import ConvBankConfig, convolve, draw_kernels
from audio_tokens.engine.codebook.slices import (
    NORMALISE,
    SliceConfig,
    centre_frames,
    normalise,
    position_count,
    stack,
    window_frames,
)
from audio_tokens.errors import UserError

shapes = st.tuples(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(1, 12))


def shaped(shape):
    contexts, stride = shape
    return SliceConfig(contexts=tuple(contexts), stride=min(stride, *contexts))


@given(st.integers(1, 80), shapes)
def test_every_frame_lies_in_some_window_of_every_stream(frames, shape):
    config = shaped(shape)
    for stream in range(len(config.contexts)):
        windows = window_frames(frames, config, stream)
        assert set(windows.ravel()) == set(range(frames))


@given(st.integers(1, 80), shapes)
def test_streams_share_positions_and_are_centred_on_the_same_frames(frames, shape):
    config = shaped(shape)
    counts = {len(window_frames(frames, config, stream)) for stream in range(len(config.contexts))}
    assert counts == {position_count(frames, config)}
    centres_P = centre_frames(frames, config)
    assert len(centres_P) == position_count(frames, config)
    for stream in range(len(config.contexts)):
        windows = window_frames(frames, config, stream)
        assert (windows.min(axis=1) <= centres_P).all()
        assert (windows.max(axis=1) >= centres_P).all()


def test_positions_follow_the_formula():
    config = SliceConfig(contexts=(4, 16), stride=2)
    assert [position_count(frames, config) for frames in (1, 4, 5, 6, 7, 431)] == [1, 1, 2, 2, 3, 215]


def test_a_clip_shorter_than_the_context_repeats_its_edge():
    mel_TF = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert stack([mel_TF], SliceConfig(contexts=(4,)), 0).tolist() == [[0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]]


def test_stacking_equals_the_obvious_loop():
    mel_TF = np.random.default_rng(0).normal(size=(23, 5)).astype(np.float32)
    config = SliceConfig(contexts=(3, 7), stride=2)
    for stream, context in enumerate(config.contexts):
        rows = []
        for position in range(position_count(23, config)):
            start = position * 2 - (context - 3) // 2
            rows.append(np.concatenate([mel_TF[min(max(frame, 0), 22)] for frame in range(start, start + context)]))
        assert np.array_equal(stack([mel_TF], config, stream), np.array(rows))


@pytest.mark.parametrize("how", [how for how in NORMALISE if how != "none"])
@pytest.mark.parametrize("level", [-80.0, -100.0, 0.0, 3.1415927])
def test_silence_and_any_constant_clip_become_zeros(how, level):
    mel_TF = np.full((217, 64), level, np.float32)
    normal_TF, _, scale = normalise(mel_TF, how)
    assert not normal_TF.any()
    assert scale == 0


@pytest.mark.parametrize("how", list(NORMALISE))
def test_offset_and_scale_put_back_what_normalising_took(how):
    mel_TF = np.random.default_rng(1).normal(-40, 12, size=(50, 8)).astype(np.float32)
    normal_TF, offset_F, scale = normalise(mel_TF, how)
    assert np.abs(normal_TF * scale + offset_F - mel_TF).max() < 1e-4
    if how == "mean-std":
        assert abs(normal_TF.mean()) < 1e-5
        assert abs(normal_TF.std() - 1) < 1e-5
    if how == "min-max":
        assert (normal_TF.min(), normal_TF.max()) == (0, 1)


def test_convolution_bank_equals_the_obvious_loop_and_is_drawn_from_its_seed():
    kernels_KW = draw_kernels(ConvBankConfig(kernels=3, kernel_size=5), seed=4)
    assert np.array_equal(kernels_KW, draw_kernels(ConvBankConfig(kernels=3, kernel_size=5), seed=4))
    assert not np.array_equal(kernels_KW, draw_kernels(ConvBankConfig(kernels=3, kernel_size=5), seed=5))
    mel_TF = np.random.default_rng(2).normal(size=(6, 9)).astype(np.float32)
    expected_TKF = np.stack(
        [[np.correlate(np.pad(frame, 2), kernel, "valid") for kernel in kernels_KW] for frame in mel_TF]
    )
    assert np.abs(convolve(mel_TF, kernels_KW).reshape(6, 3, 9) - expected_TKF).max() < 1e-5


def test_a_setting_that_came_later_is_not_in_what_was_written_before():
    """Else every codebook of before would have another hash."""
    fields = SliceConfig().to_dict()
    assert "whiten_by" not in fields
    assert SliceConfig.from_dict(fields) == SliceConfig()
    by_views = SliceConfig(whiten_by="views")
    assert SliceConfig.from_dict(by_views.to_dict()) == by_views


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"contexts": ()}, "contexts"),
        ({"contexts": (4,), "stride": 5}, "stride is 5"),
        ({"whiten_variance": 1.5}, "1.5"),
        ({"contexts": (4, 8), "residual": True}, "residual"),
        ({"contexts": (4, 8), "bands": ((0, 8),)}, "one pair per stream, 2"),
        ({"bands": ((8, 8),)}, "8, 8"),
        ({"bands": ((0, 8),), "residual": True}, "leave out either"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(fields, word):
    with pytest.raises(UserError, match=word):
        SliceConfig(**fields)
