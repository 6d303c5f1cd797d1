"""Clips as AudioSet has them: 10 s of 48 kHz stereo in 24-bit FLAC. S samples, C channels."""

import csv
import os
from itertools import cycle
from pathlib import Path

import numpy as np
import soundfile

from audio_tokens.seeds import generator
from benchmarks.inputs import sounds

RATE_HZ, SECONDS = 48_000, 10


def flac_list(folder: Path, *, clips: int, different: int = 32) -> Path:
    """Write the clips and a list of them for the source `csv:`; return the list.

    They are real clips where there are any, else soundscapes; `different` of them, each under several names (as links:
    the disk holds them once). Each channel hears its own part of the sound, over noise at -90 dB that fills the lower
    of the 24 bits, as a recording's does.
    """
    audio = folder / "audio"
    audio.mkdir(parents=True)
    waves = sounds.esc10(2 * different, rate_hz=RATE_HZ) or sounds.soundscapes(different, seconds=10, rate_hz=RATE_HZ)
    sound, rng = cycle(waves), generator(0, "bench flac")
    originals: list[Path] = []
    for number in range(min(different, clips)):
        wave_S = np.resize(np.concatenate([next(sound), next(sound)]), RATE_HZ * SECONDS)
        wave_SC = np.stack([wave_S, 0.7 * wave_S + 0.2 * np.roll(wave_S, 24)], axis=1)
        wave_SC += 3e-5 * rng.standard_normal(wave_SC.shape, np.float32)
        originals.append(audio / f"{number:06d}.flac")
        soundfile.write(originals[-1], np.clip(wave_SC, -1, 1), RATE_HZ, subtype="PCM_24")
    with (folder / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "labels", "split"])
        for number in range(clips):
            path = audio / f"{number:06d}.flac"
            if number >= different:
                os.link(originals[number % different], path)
            rows.writerow([path.relative_to(folder), "sound", "train"])
    return folder / "list.csv"
