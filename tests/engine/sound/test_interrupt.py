"""Ctrl-C while a sound is decoded or written ends the program as anywhere else, without a traceback from a callback."""

import io
import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile

from audio_tokens.engine.sound.decode import decode
from audio_tokens.jobs.display.report.facts import Played
from audio_tokens.jobs.display.report.media import sound_data


class Interrupting(io.BytesIO):
    """A file during whose every read, from the second on, Ctrl-C is pressed."""

    reads = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self.reads += 1
        if self.reads > 1:
            os.kill(os.getpid(), signal.SIGINT)
        return super().readinto(buffer)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        os.kill(os.getpid(), signal.SIGINT)
        return super().write(data)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as a terminal has it; who runs tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_a_callback_is_one_after_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = io.BytesIO()
    soundfile.write(sound, np.random.default_rng(0).uniform(-0.5, 0.5, 96_000), 48_000, format="FLAC")
    before = signal.getsignal(signal.SIGINT)
    whole_S, _ = decode(sound.getvalue())
    monkeypatch.setattr("audio_tokens.engine.sound.decode.io.BytesIO", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        decode(sound.getvalue())
    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    assert np.array_equal(decode(sound.getvalue())[0], whole_S)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_a_sound_is_written_leaves_no_traceback_either(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("audio_tokens.jobs.display.report.media.io.BytesIO", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        sound_data(Played(wave_S=np.zeros(96_000, np.float32), rate_hz=48_000))
    assert capfd.readouterr().err == ""


def test_sound_is_decoded_in_other_threads_too() -> None:
    sound, found = io.BytesIO(), []
    soundfile.write(sound, np.zeros(4_800), 48_000, format="FLAC")
    thread = threading.Thread(target=lambda: found.append(decode(sound.getvalue())[1]))
    thread.start()
    thread.join()
    assert found == [48_000]
