"""Sound to tokens and back to a spectrogram.

S samples, T frames, F mel bands, P positions, Q token streams.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt16

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.quantizer import Prepared, Quantizer, Step
from audio_tokens.engine.codebook.slices import window_starts
from audio_tokens.engine.codebook.soft_tokens import Tokens, several_nearest
from audio_tokens.engine.sound.log_mel import FrontEnd, MelConfig
from audio_tokens.engine.sound.wave_input import mono
from audio_tokens.errors import UserError


class AudioTokenizer:
    """Turns a wave into token ids by a codebook, and token ids into the mel they stand for."""

    def __init__(self, codebook: Codebook, device: int | None = None) -> None:
        """Encode on GPU `device` where one is named, else on the CPU."""
        self.codebook = codebook
        self.mel = MelConfig.from_dict(codebook.mel)
        self._front_end = FrontEnd(self.mel)
        self.quantizer = Quantizer(codebook.slices, codebook.metric, codebook.kernels_KW, codebook.streams)
        self._on_gpu = None if device is None else _on_gpu(codebook, device)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: int | None = None) -> "AudioTokenizer":
        """Load the codebook of a folder. Raises UserError where there is none."""
        return cls(Codebook.load(folder), device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the codebook into a folder, which is made where there is none."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.codebook.save(Path(folder))

    @property
    def vocab_sizes(self) -> tuple[int, ...]:
        """The number of tokens of each stream; ids are 0..size-1."""
        return self.codebook.vocab_sizes

    def encode(self, wave: np.ndarray, rate_hz: float) -> UInt16[np.ndarray, "P Q"]:
        """Return the tokens of a wave of any rate, floats [samples] or [channels, samples] (their mean is taken).

        Raises ClipError for one too short or not finite, UserError for what is no wave (see wave_input).
        """
        return self.encode_mel(self._front_end((mono(wave, rate_hz), rate_hz))[0])

    def encode_mel(self, mel_TF: Float[np.ndarray, "T F"]) -> UInt16[np.ndarray, "P Q"]:
        """Return the tokens of a clip's log mel, which depend on nothing but this clip."""
        return self.encode_mels([mel_TF])[0].ids_PQ

    def encode_mels(self, mels: Sequence[Float[np.ndarray, "_ F"]], top: int = 1) -> list[Tokens]:
        """Return the tokens of some clips; above 1, `top` asks for so many alternatives per position.

        On a CPU clip by clip, in the cache and independent of each other to the last bit; on a GPU all at once.
        """
        for mel_TF in mels:
            if mel_TF.shape[1] != self.mel.bands:
                raise UserError(f"mel of {mel_TF.shape[1]} bands; this codebook was made for {self.mel.bands}")
        if not 1 <= top <= min(self.vocab_sizes):
            raise UserError(f"top {top}: from 1 to the smallest vocabulary, {min(self.vocab_sizes)}")
        clips = [self.quantizer.prepare(mel_TF) for mel_TF in mels]
        if self._on_gpu is None:
            return [self._tokens(self.quantizer.walk([clip]), top) for clip in clips]
        return self._on_gpu(clips, top)

    def _tokens(self, steps: Sequence[Step], top: int) -> Tokens:
        ids_PQ = np.stack([step.ids_N for step in steps], axis=1).astype(np.uint16)
        if top == 1:
            return Tokens(ids_PQ)
        found = [
            several_nearest(step.x_ND, stream.centroids_KD, step.ids_N, top)
            for step, stream in zip(steps, self.codebook.streams, strict=True)
        ]
        top_ids_PQM = np.stack([ids for ids, _ in found], axis=1).astype(np.uint16)
        return Tokens(ids_PQ, top_ids_PQM, np.stack([cosines for _, cosines in found], axis=1))

    def decode(self, ids_PQ: Integer[np.ndarray, "P Q"]) -> Float32[np.ndarray, "T F"]:
        """Return log mel (dB for kind stft) of T = (P - 1) x stride + the smallest context frames.

        Every token puts down the mean slice of its centroid, in the bands that its stream covers; where slices overlap,
        their mean is taken, every stream counting alike; residual streams add up first. The level is that of the mean
        training clip, and so is a band that no stream covers.
        Raises UserError for ids that are no tokens of this codebook.
        """
        slices, streams = self.codebook.slices, self.codebook.streams
        if ids_PQ.shape[1] != len(streams) or (ids_PQ < 0).any() or (ids_PQ >= self.vocab_sizes).any():
            raise UserError(f"ids {ids_PQ.shape} up to {ids_PQ.max()}; this codebook has {self.vocab_sizes} tokens")
        patches = [stream.patches_KM[ids_P] for stream, ids_P in zip(streams, ids_PQ.T, strict=True)]
        if slices.residual:
            patches = [np.sum(patches, axis=0)]
        frames = (len(ids_PQ) - 1) * slices.stride + min(slices.contexts)
        total_TF, weight_TF = np.zeros((2, frames, self.mel.bands))
        for index, patches_PM in enumerate(patches):
            context, covered = slices.contexts[index], slices.covered_bands(index, self.mel.bands)
            frames_PC = window_starts(len(ids_PQ), slices, index)[:, None] + np.arange(context)
            inside_PC = (frames_PC >= 0) & (frames_PC < frames)
            parts_PCF = patches_PM.reshape(len(ids_PQ), context, -1)[..., covered]
            np.add.at(total_TF[:, covered], frames_PC[inside_PC], parts_PCF[inside_PC] / context)
            np.add.at(weight_TF[:, covered], frames_PC[inside_PC], 1 / context)
        normal_TF = np.divide(total_TF, weight_TF, out=np.zeros_like(total_TF), where=weight_TF > 0)
        return (normal_TF * self.codebook.scale + self.codebook.offset_F).astype(np.float32)


def _on_gpu(codebook: Codebook, device: int) -> Callable[[Sequence[Prepared], int], list[Tokens]]:
    """Return what encodes on a GPU; only there does a tokenizer pay for importing torch."""
    import torch

    from audio_tokens.engine.codebook.device_encoder import DeviceEncoder

    return DeviceEncoder(codebook, torch.device("cuda", device))
