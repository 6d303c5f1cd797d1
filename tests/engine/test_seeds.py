import pytest

from audio_tokens.errors import UserError
from audio_tokens.seeds import generator


def test_equal_names_equal_draws_and_any_difference_another_stream():
    def draw(*name):
        return generator(*name).integers(2**62, size=4).tolist()

    names = [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a", 0, 1), (0, "a", 1, 0)]
    assert all(draw(*name) == draw(*name) for name in names)
    assert len({tuple(draw(*name)) for name in names}) == len(names)


def test_a_negative_seed_is_refused():
    with pytest.raises(UserError, match="-1"):
        generator(-1, "a")
