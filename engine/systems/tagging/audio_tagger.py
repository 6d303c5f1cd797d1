"""Sound in, labels out: a trained model with the front end and the tokenizer it was trained behind.

B windows of a batch, W windows of a sound or parts of a clip, V a clip and its versions without a part, C clips, T
frames or positions, D dimensions, L labels.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

from audio_tokens.engine.clips.mel_clips import SCALES
from audio_tokens.engine.codebook.slices import SliceConfig, stack
from audio_tokens.engine.codebook.soft_tokens import packed
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.log_mel import FrontEnd
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.systems.registry import find
from audio_tokens.engine.systems.tagger import Tagger
from audio_tokens.engine.systems.tagging.model_folder import load_model
from audio_tokens.engine.systems.tagging.windows import Sound, windows
from audio_tokens.errors import UserError

BATCH_WINDOWS = 32


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """What a model says of one sound: probabilities 0..1 and embeddings of its windows, `window_s` seconds each."""

    starts_s_W: Float64[np.ndarray, "W"]
    window_s: float
    scores_WL: Float32[np.ndarray, "W L"]
    embeddings_WD: Float32[np.ndarray, "W D"]

    @property
    def scores_L(self) -> Float32[np.ndarray, "L"]:
        """The sound's probabilities, the means over its windows."""
        return self.scores_WL.mean(axis=0)


class AudioTagger:
    """Tags sound of any length, rate and number of channels with a trained model.

    A sound no longer than the model's training clips is tagged whole, as `evaluate` scores it (but for runs with
    `score_views`, whose figures are those of the mean over a clip and its views). A longer one is
    cut into windows of that length that overlap by half, and its probabilities are the means over them. Silence is
    tagged like any other sound: every front end maps it to a constant, so that the answer is what the model says of
    nothing at all. A sound shorter than one frame of the front end is refused with a ClipError.
    """

    def __init__(
        self, model: Tagger, mel: MelConfig, tokenizer: AudioTokenizer | None, device: str | None = None
    ) -> None:
        """Run on `device`, by default a GPU where there is one."""
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model, self.mel, self.tokenizer = model.eval().to(self.device), mel, tokenizer
        self.system = find(model.config.system)
        self._front_end = FrontEnd(mel)
        self._embedding = _InputOfHead(model)

    @classmethod
    def from_pretrained(cls, where: str | Path, device: str | None = None) -> "AudioTagger":
        """Load RUN, RUN/model, or a model of the Hugging Face hub. Raises UserError where there is none."""
        return cls(*load_model(where), device=device)

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of the scores' columns."""
        return self.model.config.label_names

    @property
    def window_samples(self) -> int:
        """The most samples, at the front end's rate, that make a clip as long as the longest one trained on."""
        frames = self.model.config.longest
        if self.tokenizer is not None:
            slices = self.tokenizer.codebook.slices
            frames = (frames - 1) * slices.stride + min(slices.contexts)
        if self.mel.kind == "stft":
            return max(self.mel.least_samples, frames * self.mel.hop_samples - 1)
        return self.mel.window_samples + frames * self.mel.hop_samples - 1

    def __call__(self, sound: Sound | Sequence[Sound], top: int | None = None) -> Any:
        """Return [{"label": ..., "score": ...}, ...] of a sound, highest score (0..1) first; the `top` ones, or all.

        `sound` is a path, the bytes of a file, or (wave, rate in Hz) with floats [samples] or [channels, samples]; for
        a list of them the result is a list. Raises ClipError for a sound that cannot be used, UserError for a path or
        an array that is none.
        """
        if not isinstance(sound, list):
            alone: Any = sound
            return self([alone], top)[0]
        return [self.ranked(tagging.scores_L, top) for tagging in self.all(sound)]

    def embed(self, sound: Sound | Sequence[Sound]) -> Any:
        """Return a sound's embedding float32 [D], what the model's last layer sees, the mean over windows.

        Of a list of sounds, [sounds, D]. Raises what tagging raises.
        """
        if not isinstance(sound, list):
            alone: Any = sound
            return self.embed([alone])[0]
        return np.stack([tagging.embeddings_WD.mean(axis=0) for tagging in self.all(sound)])

    def probabilities(self, mels: list[Float32[np.ndarray, "T F"]]) -> Float32[np.ndarray, "C L"]:
        """Return the probabilities 0..1 of clips whose log mels, in dB and all of one length, are at hand."""
        return self._run(mels)[0]

    def without_parts(
        self, mel_TF: Float32[np.ndarray, "T F"], parts: int, share: int
    ) -> tuple[Int64[np.ndarray, "W"], int, Float32[np.ndarray, "V L"]]:
        """Return what is said of a clip, and of it without each of some parts of its tokens, which are cut out.

        What a label loses tells how much the part speaks for it (occlusion: Zeiler and Fergus, "Visualizing and
        understanding convolutional networks", 2014). For systems that read tokens alone.

        Args:
            mel_TF: the clip's log mel, in dB
            parts: how many parts there are at most, evenly placed; they may overlap
            share: how many parts would cover the clip side by side; a part has at least one position

        Returns:
            The first position of each part, how many positions a part has, and probabilities 0..1: the first row is
            the whole clip's, the others are of it without a part. A clip of one position has no parts.
        """
        whole_PQ = self._tokens([mel_TF.astype(np.float16)])[0]
        positions = len(whole_PQ)
        wide = max(1, positions // share)
        starts_W = np.unique(np.linspace(0, positions - wide, parts).round().astype(np.int64))[: positions - 1]
        cut_WPQ = [torch.cat([whole_PQ[:start], whole_PQ[start + wide :]]) for start in starts_W.tolist()]
        scores = [self._scores(whole_PQ[None])]
        scores += [self._scores(torch.stack(cut_WPQ))] if cut_WPQ else []
        return starts_W, wide, np.concatenate(scores)

    def ranked(self, scores_L: Float32[np.ndarray, "L"], top: int | None = None) -> list[dict[str, Any]]:
        """Return the `top` labels (or all) with their scores, highest first."""
        order_L = np.argsort(-scores_L, kind="stable")[:top]
        return [{"label": self.labels[label], "score": float(scores_L[label])} for label in order_L]

    def taggings(self, sounds: Iterable[Sound]) -> Iterator[Tagging | UserError | OSError]:
        """Yield what the model says of each sound, in order, or why it cannot be read.

        Windows of equal length share batches across sounds; memory depends on neither their number nor their length,
        but for a few numbers a window.
        """
        scored = self._scored(self._mels(sounds))
        for _, rows in groupby(scored, key=lambda row: row[0]):
            starts, scores, embeddings, error = [], [], [], None
            for _, start_s, result in rows:
                if isinstance(result, UserError | OSError):
                    error = result
                else:
                    starts.append(start_s)
                    scores.append(result[0])
                    embeddings.append(result[1])
            yield error or Tagging(
                starts_s_W=np.array(starts),
                window_s=self.window_samples / self.mel.rate_hz,
                scores_WL=np.stack(scores),
                embeddings_WD=np.stack(embeddings),
            )

    def all(self, sounds: Iterable[Sound]) -> Iterator[Tagging]:
        """Yield what the model says of each sound, in order. Raises the error of one that cannot be read."""
        for tagging in self.taggings(sounds):
            if not isinstance(tagging, Tagging):
                raise tagging
            yield tagging

    def _mels(self, sounds: Iterable[Sound]) -> Iterator[tuple[int, float, Any]]:
        """Yield (number of the sound, start of the window, its mel or the error that ends the sound)."""
        for number, sound in enumerate(sounds):
            try:
                for window in windows(sound, self.mel.rate_hz, self.window_samples, self.mel.channels):
                    yield number, window.start_s, self._front_end((window.wave_S, self.mel.rate_hz))[0]
            except (UserError, OSError) as error:
                yield number, 0.0, error

    def _scored(self, mels: Iterator[tuple[int, float, Any]]) -> Iterator[tuple[int, float, Any]]:
        """Put scores and embedding in the place of every mel; neighbours of equal length are one batch."""
        for length, rows in groupby(mels, key=lambda row: len(row[2]) if isinstance(row[2], np.ndarray) else None):
            while batch := list(islice(rows, BATCH_WINDOWS)):
                if length is None:
                    yield from batch
                    continue
                found = self._run([mel_TF for _, _, mel_TF in batch])
                for (number, start_s, _), result in zip(batch, zip(*found, strict=True), strict=True):
                    yield number, start_s, result

    @torch.no_grad()
    def _run(self, mels: list[Float32[np.ndarray, "T F"]]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities [B, L] and embeddings [B, D] of mels of equal length."""
        stored = [mel_TF.astype(np.float16) for mel_TF in mels]  # as shards hold it
        beside: dict[str, Tensor] = {}
        if self.tokenizer is None:
            scale = SCALES[self.system.mel_scale]
            inputs = torch.from_numpy(np.stack([scale(mel_TF) for mel_TF in stored]))
        else:
            inputs = self._tokens(stored)
            if "mel" in self.system.reads:
                slices = self.tokenizer.codebook.slices
                seen = SliceConfig(contexts=(min(slices.contexts),), stride=slices.stride)
                scale = SCALES[self.system.mel_scale]
                slices_BTD = np.stack([stack([scale(mel_TF)], seen, 0) for mel_TF in stored])
                beside["slices_BTD"] = torch.from_numpy(slices_BTD).to(self.device)
        return self._scores(inputs, **beside), self._embedding.of_last_batch().cpu().numpy()

    @torch.no_grad()
    def _scores(self, inputs: Tensor, **beside: Tensor) -> Float32[np.ndarray, "B L"]:
        """Return the probabilities of inputs of equal length."""
        lengths_B = torch.full((len(inputs),), inputs.shape[1])
        logits_BL = self.model(inputs.to(self.device), lengths_B, **beside).float()
        scores_BL = logits_BL.softmax(dim=1) if self.model.config.single_label else logits_BL.sigmoid()
        return scores_BL.cpu().numpy()

    def _tokens(self, mels: list[np.ndarray]) -> Tensor:
        assert self.tokenizer is not None
        alternatives = self.model.config.alternatives
        clips = self.tokenizer.encode_mels(mels, alternatives)
        if alternatives == 1:
            return torch.from_numpy(np.stack([clip.ids_PQ for clip in clips]).astype(np.int64))
        soft = [packed(clip.top_ids_PQM, clip.top_cosines_PQM) for clip in clips]  # type: ignore[arg-type]
        return torch.from_numpy(np.stack(soft).astype(np.int64)).flatten(2)


class _InputOfHead:
    """Keeps what the last linear layer onto the labels was given in the last batch; not that of a bag that votes."""

    def __init__(self, model: Tagger) -> None:
        labels = model.config.label_count
        heads = [
            module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module.out_features == labels and not name.startswith("bag.")
        ]
        heads[-1].register_forward_pre_hook(self._keep)
        self._x: Tensor | None = None

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._x = inputs[0]

    def of_last_batch(self) -> Float[Tensor, "B D"]:
        """Return one vector a clip: the mean over positions where the layer saw each of them."""
        assert self._x is not None
        x_BD = self._x.mean(dim=1) if self._x.ndim == 3 else self._x
        return x_BD.float()
