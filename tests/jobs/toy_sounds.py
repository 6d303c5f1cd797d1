"""A source of short sounds whose decoders crash, hang, or return nonsense: `toy:NAME`, made known by `toy_source`.

Workers import this module, so nothing here may be local to a test.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audio_tokens.shards.sources.clip import Clip, Reject
from audio_tokens.shards.sources.registry import Task
from tests.shards.tasks.toy_build import ToySource, ToyTransform


@dataclass(frozen=True)
class Sound:
    """The bytes of a clip's sound, or what a broken decoder makes of them."""

    clip: Clip
    accidents: ToyTransform
    nonsense: Any = None

    def __call__(self) -> Any:
        self.accidents(self.clip)
        if self.nonsense is not None:
            return self.nonsense, 8000
        file = io.BytesIO()
        soundfile.write(file, np.resize(0.1 * self.clip.wave_S, 1600), 8000, format="WAV")
        return file.getvalue()


@dataclass(frozen=True)
class Sounds(ToySource):
    """The clips of a toy source as files of 0.2 s."""

    tasks_count: int = 2
    accidents: ToyTransform = field(default_factory=ToyTransform)
    nonsense: dict[str, Any] = field(default_factory=dict)
    mislabelled: tuple[str, ...] = ()

    def clips(self, task: Task) -> Iterator[Clip | Reject]:
        for clip in super().clips(task):
            if isinstance(clip, Clip):
                sound = Sound(clip, self.accidents, self.nonsense.get(clip.key))
                labels = ("four",) if clip.key in self.mislabelled else clip.labels
                clip = replace(clip, open=sound, wave_S=None, rate_hz=None, labels=labels)
            yield clip


CALM, TWICE, TORN = Sounds(), Sounds(keys=15), Sounds(torn=(15,))
BROKEN = Sounds(
    accidents=ToyTransform(segfault=("-k3",), hang=("-k14",), leave=("-k5",), bad=("-k20",)),
    nonsense={"-k8": np.zeros((1600, 2), np.float32), "-k9": np.full(1600, np.nan, np.float32)},
    mislabelled=("-k16",),
)
REASONS = {
    "clip 3": "the decoder died of SIGSEGV",
    "clip 5": "the decoder ended the process with code 3",
    "clip 7": "listed as broken",
    "clip 8": "an array of shape (1600, 2), not of samples",
    "clip 9": "1600 samples are not finite",
    "clip 14": "decoding took longer than 3 s",
    "clip 16": "unknown label 'four'",
    "clip 18": "listed as broken",
    "clip 20": "sounds bad",
}


def source(where: str) -> Sounds:
    return {"calm": CALM, "twice": TWICE, "torn": TORN, "broken": BROKEN}[where]


def rejects_of(folder: Path | str) -> list[str]:
    return (Path(folder) / "rejects.jsonl").read_text().splitlines()
