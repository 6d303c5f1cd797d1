"""From a file of sound to one finite mono wave, whole or in blocks, or a reason why not.

Axes: S samples, C channels.

libsndfile decodes half an Ogg, WAV or MP3 file without an error, so what the container states is checked as well
(containers/). libsndfile is the fast path; what it cannot read, or not to its end, FFmpeg reads.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from audio_tokens.engine.sound.channels import Channels, Mixer
from audio_tokens.engine.sound.containers.contents import Part, behind, contents
from audio_tokens.engine.sound.ffmpeg_sound import ffmpeg_blocks
from audio_tokens.engine.sound.longest_clip import LONGEST_S
from audio_tokens.errors import ClipError
from audio_tokens.interrupts import held_interrupt

T = TypeVar("T")

# Rates outside are damage, not sound; resampling 10 s from "1 Hz" would ask for gigabytes.
RATES_HZ = (1_000, 768_000)
# Values (samples x channels) of a block, 32 MB: memory follows neither the length of a file nor what a damaged header
# promises. Clips up to 87 s of 48 kHz stereo are one block.
BLOCK_VALUES = 1 << 23
# What libsndfile reports when the header leaves the length open (piped WAV).
UNKNOWN_SAMPLES = (1 << 63) - 1
# A clip may fall this short of the duration its source promised (encoders trim, segment lists round).
SHORT_SHARE, SHORT_S = 0.02, 0.1

BY_FFMPEG = "read by FFmpeg"
LOUDEST_TAKEN = "channels cancel in their mean: the loudest one taken"


class Block(NamedTuple):
    """Some samples of a stream, their rate, and how many of it lie before them."""

    rate_hz: int
    wave_SC: Float32[np.ndarray, "S C"]
    start: int


class Excerpt(NamedTuple):
    """What is read of a file: from `start_s` on, `duration_s` or all that follows, at most `longest_s`."""

    start_s: float = 0.0
    duration_s: float | None = None
    longest_s: float = LONGEST_S


ALL = Excerpt()


class MonoStream:
    """The mono blocks of a file, read once.

    While it is read, `rate_hz` tells the rate; afterwards `samples` tells how many there were, `notes` what was
    unusual, and `mixer` whether the channels cancel.
    """

    def __init__(
        self,
        sound: bytes | Path,
        channel: int | None,
        excerpt: Excerpt,
        promised_s: float | None,
        on_block: Callable[[], object],
    ) -> None:
        self._sound, self._excerpt, self._promised_s, self._on_block = sound, excerpt, promised_s, on_block
        self.mixer = Mixer(channel)
        self.rate_hz = self.samples = 0
        self.notes: list[str] = []

    @property
    def seconds(self) -> float:
        return self.samples / self.rate_hz

    def __iter__(self) -> Iterator[Float32[np.ndarray, " S"]]:
        for block in _blocks(self._sound, self._excerpt, self.notes):
            self.rate_hz = block.rate_hz
            self.samples += len(block.wave_SC)
            self._on_block()
            yield self.mixer(block.wave_SC)
        check_duration(self.seconds, self._promised_s)
        check_duration(self.seconds, self._excerpt.duration_s)


def decode(
    sound: bytes | Path,
    channels: Channels = "auto",
    excerpt: Excerpt = ALL,
    on_block: Callable[[], object] = lambda: None,
) -> tuple[Float32[np.ndarray, " S"], int]:
    """Decode an audio file, whatever its name claims it is.

    Args:
        sound: the file, or its bytes: any format that libsndfile or FFmpeg reads (WAV, FLAC, Ogg, MP3, M4A, WebM, ...).
        channels: how they become one (channels.py).
        excerpt: what of it.
        on_block: told of every block that is decoded, some 100 s.

    Returns:
        One channel, S >= 1 samples, full scale at -1..1 for integer formats, and the rate in Hz.

    Raises:
        ClipError: no bytes, not audio, cut off, no samples, a sample that is not finite, an absurd rate, too long.
    """
    blocks, stream = through(sound, list, channels=channels, excerpt=excerpt, on_block=on_block)
    return np.ascontiguousarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks)), stream.rate_hz


def through(
    sound: bytes | Path,
    use: Callable[[MonoStream], T],
    *,
    channels: Channels = "auto",
    excerpt: Excerpt = ALL,
    promised_s: float | None = None,
    on_block: Callable[[], object] = lambda: None,
) -> tuple[T, MonoStream]:
    """Return what `use` makes of the mono blocks of a file, and the stream they came from.

    Which channel is the loudest, and whether the channels cancel, shows at the end of a file only: it is then read
    again, rather than held. `on_block` is told of every block that is read. Raises ClipError as `decode` does, and
    where the sound falls short of `promised_s`.
    """
    fixed = {"left": 0, "right": 1}.get(channels)
    if channels != "loudest":
        stream = MonoStream(sound, fixed, excerpt, promised_s, on_block)
        made = use(stream)
        if channels != "auto" or not stream.mixer.cancels:
            return made, stream
    stream = MonoStream(sound, _loudest_channel(sound, excerpt, on_block), excerpt, promised_s, on_block)
    made = use(stream)
    if channels == "auto":
        stream.notes.append(LOUDEST_TAKEN)
    return made, stream


def resampled(stream: MonoStream, to_hz: int) -> Iterator[Float32[np.ndarray, " R"]]:
    """Yield the blocks of a stream at another rate: together the very samples that `resample` makes of the whole."""
    resampler, held_S = None, None
    for block_S in stream:
        if stream.rate_hz == to_hz:
            yield block_S
            continue
        resampler = resampler or soxr.ResampleStream(stream.rate_hz, to_hz, 1, dtype="float32", quality="HQ")
        if held_S is not None:
            yield resampler.resample_chunk(held_S)
        held_S = block_S
    if resampler:
        yield resampler.resample_chunk(held_S, last=True)


def resample(wave_S: Float32[np.ndarray, " S"], rate_hz: float, to_hz: float) -> Float32[np.ndarray, " R"]:
    """Resample a mono wave with soxr at high quality (aliases at -138 dB); the same array where the rates agree."""
    if rate_hz == to_hz:
        return wave_S
    return soxr.resample(wave_S, rate_hz, to_hz, quality="HQ")


def check_duration(seconds: float, promised_s: float | None) -> None:
    """Raise ClipError where `seconds` of sound fall short of what the source promised by more than 2 % and 0.1 s."""
    if promised_s is not None and seconds < promised_s - max(SHORT_S, SHORT_SHARE * promised_s):
        raise ClipError(f"cut off: {seconds:.2f} s decoded of {promised_s:.2f} s promised")


def _loudest_channel(sound: bytes | Path, excerpt: Excerpt, on_block: Callable[[], object]) -> int:
    powers: Counter[int] = Counter()
    for block in _blocks(sound, excerpt, []):
        on_block()
        for channel, wave_S in enumerate(block.wave_SC.T):
            powers[channel] += float(np.dot(wave_S, wave_S))  # type: ignore[assignment]
    return max(powers, key=lambda channel: (powers[channel], -channel))


def _blocks(sound: bytes | Path, excerpt: Excerpt, notes: list[str]) -> Iterator[Block]:
    """Yield the samples of an excerpt of a file, of one rate; put into `notes` what is unusual about the file.

    Raises ClipError where it cannot be read, not to its end, or holds no samples or too many.
    """
    rate_hz = before = taken = 0
    with io.BytesIO(sound) if isinstance(sound, bytes) else sound.open("rb") as file:
        found = contents(file)
        notes += found.notes
        parts = list(found.parts)
        alone = len(parts) == 1
        for part in parts:
            window, end = _window(file, part), 0
            for block in _blocks_of(window, part, excerpt if alone else ALL, notes):
                if rate_hz not in (0, block.rate_hz):
                    raise ClipError(f"the rate changes within the file, from {rate_hz} to {block.rate_hz} Hz")
                rate_hz, end = block.rate_hz, block.start + len(block.wave_SC)
                first, last = _span(excerpt, rate_hz)
                start = before + block.start
                wave_SC = block.wave_SC[max(0, first - start) : None if last is None else max(0, last - start)]
                taken += len(wave_SC)
                if taken > excerpt.longest_s * rate_hz:
                    raise ClipError(f"longer than {excerpt.longest_s:g} s of sound, the most that one clip may have")
                if len(wave_SC):
                    yield block._replace(wave_SC=wave_SC)
                if last is not None and before + end >= last:
                    return
            before += end
            more = behind(file, part, part.start + window.tell())
            parts += more.parts
            notes += more.notes
    if not before:
        raise ClipError("no samples (the file holds a header only)")
    if not taken:
        raise ClipError(f"no samples at {excerpt.start_s:g} s: the file holds {before / rate_hz:.2f} s")


def _span(excerpt: Excerpt, rate_hz: int) -> tuple[int, int | None]:
    """Return the first sample of an excerpt and the one after its last, if it has one."""
    start = round(excerpt.start_s * rate_hz)
    return start, None if excerpt.duration_s is None else start + max(1, round(excerpt.duration_s * rate_hz))


def _blocks_of(file: BufferedIOBase, part: Part, excerpt: Excerpt, notes: list[str]) -> Iterator[Block]:
    """Yield the samples of one stream, read by whoever can."""
    if part.by_libsndfile:
        try:
            with held_interrupt():  # soundfile reads through callbacks
                opened = soundfile.SoundFile(file)
        except soundfile.LibsndfileError as error:  # its str() names the address of the buffer: differs from run to run
            if not part.demuxers:
                raise ClipError(f"cannot be decoded: {error.error_string}") from None
        else:
            yield from _by_libsndfile(opened, excerpt)
            return
    file.seek(0)
    if BY_FFMPEG not in notes:
        notes.append(BY_FFMPEG)
    yield from _by_ffmpeg(file, part)


def _by_libsndfile(file: soundfile.SoundFile, excerpt: Excerpt) -> Iterator[Block]:
    rate_hz, promised_samples = file.samplerate, file.frames
    _check_rate(rate_hz)
    known = promised_samples != UNKNOWN_SAMPLES
    start, stop = _span(excerpt, rate_hz)
    if known and stop is None and promised_samples - start > excerpt.longest_s * rate_hz:
        raise ClipError(
            f"its header promises {promised_samples / rate_hz:.0f} s of sound; one clip may have at most "
            f"{excerpt.longest_s:g} s"
        )
    position = 0
    try:
        with file:
            if known and 0 < start < promised_samples and file.seekable():
                with held_interrupt():
                    position = file.seek(start)
            most = BLOCK_VALUES // file.channels
            if stop is not None:
                most = min(most, stop - position)
            while len(wave_SC := _read(file, most)):
                yield Block(rate_hz, wave_SC, position)
                position += len(wave_SC)
    except soundfile.LibsndfileError as error:
        raise ClipError(f"cannot be decoded: {error.error_string}") from None
    if known and position < promised_samples:
        raise ClipError(f"cut off: {position} samples decoded of {promised_samples} promised by the header")


def _read(file: soundfile.SoundFile, samples: int) -> Float32[np.ndarray, "S C"]:
    with held_interrupt():
        return file.read(samples, dtype="float32", always_2d=True)


def _by_ffmpeg(file: BufferedIOBase, part: Part) -> Iterator[Block]:
    samples, seconds, stated_s = 0, 0.0, part.seconds
    blocks = ffmpeg_blocks(file, part.demuxers, lenient=part.lenient, block_values=BLOCK_VALUES)
    for rate_hz, wave_SC, container_s in blocks:
        _check_rate(rate_hz)
        yield Block(rate_hz, wave_SC, samples)
        samples += len(wave_SC)
        seconds, stated_s = samples / rate_hz, part.seconds or container_s
    check_duration(seconds, stated_s)


def _check_rate(rate_hz: int) -> None:
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise ClipError(f"rate of {rate_hz} Hz is not between {RATES_HZ[0]} and {RATES_HZ[1]} Hz")


def _window(file: BufferedIOBase, part: Part) -> BufferedIOBase:
    """Return the part's bytes as a file: the file itself where the part is all of it."""
    whole = file.seek(0, io.SEEK_END) == part.stop - part.start
    file.seek(part.start)
    return file if whole else io.BytesIO(file.read(part.stop - part.start))
