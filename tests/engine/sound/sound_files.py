"""Files of sound of many kinds, made by FFmpeg (PyAV) and soundfile. S samples, C channels."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import soundfile

RATE_HZ = 44_100


def noise(samples: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise below a few kHz, so that lossy codecs keep it."""
    white_SC = np.random.default_rng(seed).uniform(-0.5, 0.5, (samples + 15, channels))
    return np.lib.stride_tricks.sliding_window_view(white_SC, 16, axis=0).mean(axis=2)


def by_soundfile(wave_SC: np.ndarray, format: str, subtype: str | None = None, *, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave_SC, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(
    wave_SC: np.ndarray,
    muxer: str,
    codec: str,
    *,
    rate_hz: int = RATE_HZ,
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
    picture: bool = False,
) -> bytes:
    """Encode in any container, with a moving picture beside the sound where asked."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono" if wave_SC.shape[1] == 1 else "stereo")
        if bit_rate:
            stream.bit_rate = bit_rate
        if picture:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(wave_SC.astype(np.float32).reshape(1, -1)), "flt", stream.layout.name
        )
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
        resampler = av.AudioResampler(stream.format.name, stream.layout.name, rate_hz, stream.frame_size or 1024)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
        if picture:
            for number in range(10):
                image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), "rgb24")
                container.mux(video.encode(image))
            container.mux(video.encode(None))
    return file.getvalue()


def chunk_size(data: bytes, name: bytes, value: int, byte_order: str = "<") -> bytes:
    """Return the file with another number in the size of a chunk."""
    changed = bytearray(data)
    struct.pack_into(f"{byte_order}I", changed, data.index(name) + 4, value)
    return bytes(changed)


def without_end_of_stream(ogg: bytes) -> bytes:
    """Return the Ogg file up to its last page: what is left when a recorder is switched off."""
    return ogg[: ogg.rindex(b"OggS")]
