"""Damaged files of sound, and a process that reads them: `python -m tests.engine.sound.mutations FIRST COUNT`.

Mutation n is a pure function of n: of one of twelve formats a few bytes are changed, cut out, doubled, or made one of
the numbers that headers fear. A line of JSON tells of each what came of it, and the most memory the process has held.
"""

import functools
import json
import sys
import time

import numpy as np

from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.errors import ClipError
from audio_tokens.shards.workers.time_limit import time_limit
from tests.engine.sound.sound_files import by_ffmpeg, by_soundfile, noise
from tests.peak_memory import peak_bytes

FORMATS = ("WAV", "FLAC", "VORBIS", "OPUS", "MP3", "AIFF", "AU", "CAF", "m4a", "webm", "mka", "wma")
BY_FFMPEG = {"m4a": ("ipod", "aac"), "webm": ("webm", "libopus"), "mka": ("matroska", "flac"), "wma": ("asf", "wmav2")}
FEARED = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000)
LIMIT_S = 30.0  # of a clip of half a second: even on a machine with much else to do
SAMPLES, RATE_HZ = 24_000, 48_000


@functools.cache
def whole(format: str) -> bytes:
    wave_SC = noise(SAMPLES, 2)
    if format in BY_FFMPEG:
        muxer, codec = BY_FFMPEG[format]
        return by_ffmpeg(wave_SC, muxer, codec, rate_hz=RATE_HZ, bit_rate=128_000)
    container, subtype = ("OGG", format) if format in ("VORBIS", "OPUS") else (format, None)
    return by_soundfile(wave_SC, container, subtype, rate_hz=RATE_HZ)


def mutated(number: int) -> tuple[str, bytes]:
    """Return the format and the bytes of a mutation."""
    rng = np.random.default_rng(number)
    format = FORMATS[number % len(FORMATS)]
    data = bytearray(whole(format))
    for _ in range(rng.integers(1, 4)):
        # Half of all damage falls on the first kilobyte, where the headers are.
        at = int(rng.integers(0, min(len(data), 1024) if rng.random() < 0.5 else len(data)))
        length = int(rng.integers(1, 1 + min(2000, len(data) - at)))
        kind = rng.integers(6)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + 4] = FEARED[rng.integers(len(FEARED))].to_bytes(4, "little" if rng.random() < 0.5 else "big")
        elif kind == 2:
            data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        else:
            del data[max(1, at) :]
    return format, bytes(data)


def main(first: int, count: int) -> None:
    front_end = FrontEnd(MEL_CONFIGS["mel22k"])
    for number in range(first, first + count):
        format, data = mutated(number)
        start = time.perf_counter()
        print(json.dumps({"number": number, "format": format}), flush=True)
        with time_limit(LIMIT_S):
            try:
                mel_TF, seconds = front_end(data)
                assert np.isfinite(mel_TF).all()
                outcome, words = "mel", f"{seconds:.2f} s"
            except ClipError as error:
                outcome, words = "reject", str(error)
        peak_MiB = peak_bytes() >> 20
        said = {"outcome": outcome, "words": words, "seconds": time.perf_counter() - start, "peak_MiB": peak_MiB}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
