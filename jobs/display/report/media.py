"""Pictures and sounds as `data:` addresses, so that a page holds them. T frames, F mel bands, P positions."""

import base64
import io
from typing import Any

import matplotlib
import numpy as np
import soundfile
from matplotlib import image

from audio_tokens.interrupts import held_interrupt
from audio_tokens.jobs.display.report.facts import Played


def mel_png(mel_TF: np.ndarray, low: float, high: float) -> str:
    """Return a mel as a picture, a pixel a value, low bands below; `low` and `high` are the ends of the colours."""
    shares_FT = np.clip((mel_TF.T[::-1] - low) / max(high - low, 1e-9), 0, 1)
    return _png(matplotlib.colormaps["magma"](shares_FT))


def token_png(ids_P: np.ndarray) -> str:
    """Return a row of pixels, a colour a token; the golden ratio parts neighbouring ids."""
    return _png(matplotlib.colormaps["hsv"]((ids_P[None, :] * 0.618034) % 1))


def sound_data(sound: Played) -> str:
    """Return a sound as MP3, which every browser plays: about 8 kB a second. One below 0.5 s is WAV, cut exactly."""
    short = len(sound.wave_S) < 0.5 * sound.rate_hz
    file = io.BytesIO()
    form, subtype = ("WAV", "PCM_16") if short else ("MP3", "MPEG_LAYER_III")
    with held_interrupt():  # soundfile writes through callbacks
        soundfile.write(file, sound.wave_S, sound.rate_hz, format=form, subtype=subtype)
    return _address("audio/wav" if short else "audio/mpeg", file.getvalue())


def _png(rgba: np.ndarray) -> str:
    file = io.BytesIO()
    unsigned: Any = {"Software": None}  # no entry of matplotlib's version: the same picture gives the same bytes
    image.imsave(file, np.ascontiguousarray((rgba * 255).astype(np.uint8)), format="png", metadata=unsigned)
    return _address("image/png", file.getvalue())


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
