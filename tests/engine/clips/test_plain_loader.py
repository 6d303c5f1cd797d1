"""A codebook needs nothing of this package: ten lines of numpy and safetensors give the same tokens."""

import re
from pathlib import Path

import numpy as np

from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from tests.engine.codebook.test_tokenizer import MELS, fitted

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


def test_the_ten_lines_of_the_page_give_the_tokens_of_the_tokenizer(tmp_path, monkeypatch):
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (snippet,) = [snippet for snippet in snippets if "def plain_tokens" in snippet]
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 10
    assert "engine" not in snippet
    tokenizer = AudioTokenizer(fitted("default"))
    tokenizer.save_pretrained(tmp_path / "work" / "codebook")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(snippet, names)
    same = [
        (names["plain_tokens"](mel_TF.astype(np.float32)) == tokenizer.encode_mel(mel_TF)[:, 0]).mean()
        for mel_TF in MELS
    ]
    assert np.mean(same) > 0.999  # other sums, other roundings: a tie in thousands may fall to the other side
