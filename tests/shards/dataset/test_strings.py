"""Strings read when they are asked for are those of a list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_tokens.shards.dataset.strings import Strings


@given(texts=st.lists(st.text("aé𝄞", max_size=4), max_size=8), first=st.integers(-9, 9), last=st.integers(-9, 9))
def test_they_read_as_a_list_does(texts: list[str], first: int, last: int) -> None:
    parts = [text.encode() for text in texts]
    strings = Strings(len(parts), lambda: (np.frombuffer(b"".join(parts), np.uint8), np.cumsum([0, *map(len, parts)])))
    assert list(strings) == texts
    assert strings == texts
    assert len(strings) == len(texts)
    assert strings[first:last] == texts[first:last]
    assert [strings[number] for number in range(-len(texts), len(texts))] == texts * 2
    for beyond in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError):
            strings[beyond]
