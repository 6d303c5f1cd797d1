"""The systems that learn to tag clips: name -> what it reads, where it lives, what may be chosen about it.

A new system is one file here, its options in options.py and one line in SYSTEMS. This module is light (`--help` and
recipes read it); a system's own module imports torch and is loaded when it is built.
"""

import importlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from audio_tokens.engine.ranges import check_values
from audio_tokens.engine.systems.options import (
    HybridBertOptions,
    RawAstOptions,
    RawBertOptions,
    RawCnnOptions,
    RawLinearOptions,
    TokenBagOptions,
    TokenBertOptions,
    TokenLinearOptions,
    TokenLstmOptions,
    TokenPairsOptions,
    TokenRocketOptions,
)
from audio_tokens.engine.train_config import TagConfig, TrainConfig
from audio_tokens.errors import UserError, damaged, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OF_TOKENS = ("soft", "score_views", "mix_kind")  # options that say nothing about a system which reads mel alone


@dataclass(frozen=True)
class System:
    """One line of the registry: the class `model` of `module` reads `reads` (tokens, mel, or both).

    `mel_scale` says how mel is normalised: see SCALES of engine/clips.
    """

    module: str
    model: str
    reads: tuple[str, ...]
    options: type[TagConfig]
    mel_scale: str = "clip"

    @property
    def solved(self) -> bool:
        """Whether it is solved at once, and has no steps to choose anything about."""
        return not issubclass(self.options, TrainConfig)

    @property
    def option_names(self) -> list[str]:
        """The options that mean something to it."""
        unused = () if "tokens" in self.reads else OF_TOKENS
        return [field.name for field in fields(self.options) if field.name not in unused]

    def load(self) -> "type[Tagger]":
        """Import the system's module and return its class."""
        return getattr(importlib.import_module(f"audio_tokens.engine.systems.{self.module}"), self.model)


# What torch and safetensors say of files that are not what they were; SafetensorError is an Exception only.
MODEL_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, IndexError, SafetensorError)

TOKENS, MEL, BOTH = ("tokens",), ("mel",), ("tokens", "mel")
SYSTEMS: dict[str, System] = {
    "token-bag": System("token_bag", "TokenBag", TOKENS, TokenBagOptions),
    "token-rocket": System("token_rocket", "TokenRocket", TOKENS, TokenRocketOptions),
    "token-pairs": System("token_pairs", "TokenPairs", TOKENS, TokenPairsOptions),
    "token-linear": System("token_linear", "TokenLinear", TOKENS, TokenLinearOptions),
    "token-lstm": System("token_lstm", "TokenLstm", TOKENS, TokenLstmOptions),
    "token-bert": System("token_bert", "TokenBert", TOKENS, TokenBertOptions),
    "hybrid-bert": System("hybrid_bert", "HybridBert", BOTH, HybridBertOptions),
    "raw-linear": System("raw_linear", "RawLinear", MEL, RawLinearOptions),
    "raw-cnn": System("raw_cnn", "RawCnn", MEL, RawCnnOptions),
    "raw-bert": System("raw_bert", "RawBert", MEL, RawBertOptions),
    "raw-ast": System("raw_ast", "RawAst", MEL, RawAstOptions, mel_scale="audioset"),
}


def find(name: str) -> System:
    """Return the system of that name; UserError names the nearest one where there is none."""
    if name not in SYSTEMS:
        raise UserError(f"unknown system {name!r}; {did_you_mean(name, SYSTEMS)}")
    return SYSTEMS[name]


def build(config: "TaggerConfig") -> "Tagger":
    """Return a fresh model of `config.system`; its weights come from torch's current generator.

    Raises UserError where an option lies outside its range.
    """
    system = find(config.system)
    check_values(config.options, system.options)
    return system.load()(config)


def save(model: "Tagger", folder: str | Path, **facts: Any) -> None:
    """Write a model into an existing folder in the Hugging Face form: config.json (`facts` too) and safetensors."""
    from safetensors.torch import save_file

    text = json.dumps(model.config.to_dict() | facts, indent=2, sort_keys=True)
    (Path(folder) / CONFIG).write_text(text + "\n", encoding="utf-8")
    weights = {name: tensor.detach().contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, Path(folder) / WEIGHTS, metadata={"format": "pt"})


def load(folder: str | Path) -> "Tagger":
    """Return the trained model of a run's `model/` folder, in evaluation mode.

    Raises UserError where there is none, or a damaged one.
    """
    config = Path(folder) / CONFIG
    if not config.is_file():
        raise UserError(f"{folder} holds no model ({CONFIG} is missing); name the `model` folder of a run")
    import torch
    from safetensors.torch import load_file

    from audio_tokens.engine.systems.tagger import TaggerConfig

    try:
        theirs = load_file(Path(folder) / WEIGHTS)
        found = TaggerConfig.from_dict(json.loads(config.read_bytes()))
        with torch.random.fork_rng():  # what is drawn here is replaced at once
            with torch.device("meta"):  # where tensors of any size take no memory
                ours = build(found).state_dict()
            if differing := sorted(key for key in ours.keys() | theirs if not _alike(ours.get(key), theirs.get(key))):
                raise ValueError(f"{differing[0]} is missing or of another shape")
            model = build(found)
        model.load_state_dict(theirs)
    except MODEL_DAMAGED as error:
        raise damaged(Path(folder), error) from None
    return model.eval()


def _alike(ours: "Tensor | None", theirs: "Tensor | None") -> bool:
    return ours is not None and theirs is not None and (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
