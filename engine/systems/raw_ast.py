"""raw-ast: the Audio Spectrogram Transformer, 16 x 16 patches of mel with overlap: the known-good model.

Axes: B batch, T frames, F mel bands, L labels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from transformers import ASTConfig, ASTForAudioClassification

from audio_tokens.engine.clips.mel_clips import by_audioset
from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig, mask_from
from audio_tokens.errors import UserError

PATCH = 16
PADDING = by_audioset(np.zeros((1, 1), np.float32)).item()  # the feature extractor pads with 0, then normalises


class RawAst(Tagger):
    """transformers' AST as it stands (Gong et al. 2021), on clips padded to the longest as its feature extractor does.

    The body of the checkpoint in the folder `weights` (MIT/ast-finetuned-audioset-10-10-0.4593 say) is loaded before
    training, and its head too where it has as many labels.
    """

    bf16_on_cpu = True

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__(config)
        options = config.options
        stride = options["patch_stride"]
        steps = max(0, -(-(config.longest - PATCH) // stride))  # patches after the first; every frame lies in one
        self.frames = options["frames"] or PATCH + steps * stride
        self.ast = ASTForAudioClassification(
            ASTConfig(
                hidden_size=options["width"],
                num_hidden_layers=options["layers"],
                num_attention_heads=options["heads"],
                intermediate_size=4 * options["width"],
                hidden_dropout_prob=options["dropout"],
                patch_size=PATCH,
                frequency_stride=stride,
                time_stride=stride,
                max_length=self.frames,
                num_mel_bins=config.bands,
                id2label=dict(enumerate(config.label_names)),
            )
        )

    def forward(self, mel_BTF: Float[Tensor, "B T F"], lengths_B: Int64[Tensor, "B"]) -> Float[Tensor, "B L"]:
        """Return the logits of every label. UserError for too long a clip."""
        if mel_BTF.shape[1] > self.frames:
            raise UserError(f"a clip of {mel_BTF.shape[1]} frames exceeds the {self.frames} this model was built for")
        real_BT1 = mask_from(lengths_B, mel_BTF.shape[1], mel_BTF.device)[..., None]
        mel_BTF = torch.where(real_BT1, mel_BTF, PADDING)
        mel_BTF = nn.functional.pad(mel_BTF, (0, 0, 0, self.frames - mel_BTF.shape[1]), value=PADDING)
        return self.ast(mel_BTF).logits

    def initialise(self, centroids: Sequence[Float32[np.ndarray, "_ _"]] = ()) -> None:
        """Load the published weights that the options name, if they name any. UserError where they do not fit."""
        folder = self.config.options["weights"]
        if not folder:
            return
        if not (Path(folder) / "config.json").is_file():
            raise UserError(f"weights {folder!r} holds no model (config.json is missing); fetch a checkpoint into it")
        if not (Path(folder) / "model.safetensors").is_file():
            raise UserError(f"weights {folder!r} has no model.safetensors; other forms of a checkpoint may run code")
        theirs = ASTForAudioClassification.from_pretrained(folder, local_files_only=True).state_dict()
        ours = self.ast.state_dict()
        wrong = [k for k in theirs if k in ours and theirs[k].shape != ours[k].shape and "classifier.dense" not in k]
        if wrong or not theirs.keys() >= {key for key in ours if "classifier" not in key}:
            raise UserError(f"weights {folder!r} do not fit width, layers, heads, bands or frames: {wrong[:1]}")
        fitting = {key: value for key, value in theirs.items() if key in ours and value.shape == ours[key].shape}
        self.ast.load_state_dict(fitting, strict=False)
