"""The systems that learn to tag clips: name -> what it reads, where it lives, how it trains unless told otherwise.

A new system is one file here and one line in SYSTEMS. This module is light (`--help` and recipes read it); a system's
own module imports torch and is loaded when it is built.
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from audio_tokens.engine.train_config import TrainConfig, settings
from audio_tokens.errors import UserError, damaged, did_you_mean

if TYPE_CHECKING:
    from audio_tokens.engine.systems.tagger import Tagger, TaggerConfig


@dataclass(frozen=True, kw_only=True)
class System:
    """One line of the registry: the class `model` of `module` reads `tokens`, `mel`, or both.

    `options` are the model's own (its widths and depths), `train` what its training does unlike TrainConfig's defaults.
    `mel_scale` says how mel is normalised: see SCALES of engine/clips. A system that is `solved` at once has no steps,
    so that nothing about them can be chosen.
    """

    module: str
    model: str
    reads: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    mel_scale: str = "clip"
    solved: bool = False

    def load(self) -> "type[Tagger]":
        """Import the system's module and return its class."""
        return getattr(importlib.import_module(f"audio_tokens.engine.systems.{self.module}"), self.model)


# What transformers and safetensors say of files that are not what they were; SafetensorError is an Exception only.
MODEL_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, IndexError, SafetensorError)

BERT = {"width": 96, "layers": 2, "heads": 4, "dropout": 0.1, "positions": "learnt", "pooling": "first", "conv": 0}

SYSTEMS: dict[str, System] = {
    "token-bag": System(module="token_bag", model="TokenBag", reads=("tokens",), options={"C": 100.0}, solved=True),
    "token-rocket": System(
        module="token_rocket",
        model="TokenRocket",
        reads=("tokens",),
        options={"C": 100.0, "kernels": 500, "share": 0.5, "embedding": "drawn"},
        solved=True,
    ),
    "token-linear": System(
        module="token_linear",
        model="TokenLinear",
        reads=("tokens",),
        options={"width": 128, "dropout": 0.1, "embedding": "drawn"},
        train={"epochs": 30, "learning_rate": 1e-2},
    ),
    "token-lstm": System(
        module="token_lstm",
        model="TokenLstm",
        reads=("tokens",),
        options={"width": 96, "dropout": 0.2, "pooling": "mean-max", "embedding": "drawn"},
        train={"epochs": 20, "learning_rate": 3e-3},
    ),
    "token-bert": System(
        module="token_bert",
        model="TokenBert",
        reads=("tokens",),
        options={**BERT, "embedding": "drawn"},
        train={"epochs": 20, "learning_rate": 1e-3, "weight_decay": 0.05},
    ),
    "hybrid-bert": System(
        module="hybrid_bert",
        model="HybridBert",
        reads=("tokens", "mel"),
        options={**BERT, "embedding": "drawn"},
        train={"epochs": 20, "learning_rate": 1e-3, "weight_decay": 0.05},
    ),
    "raw-linear": System(
        module="raw_linear",
        model="RawLinear",
        reads=("mel",),
        options={"width": 128, "context": 4, "stride": 2, "dropout": 0.1},
        train={"epochs": 20, "learning_rate": 1e-3},
    ),
    "raw-cnn": System(
        module="raw_cnn",
        model="RawCnn",
        reads=("mel",),
        options={"channels": 24, "dropout": 0.2},
        train={"epochs": 15, "learning_rate": 2e-3},
    ),
    "raw-bert": System(
        module="raw_bert",
        model="RawBert",
        reads=("mel",),
        options={**BERT, "context": 4, "stride": 4},
        train={"epochs": 20, "learning_rate": 1e-3, "weight_decay": 0.05},
    ),
    "raw-ast": System(
        module="raw_ast",
        model="RawAst",
        reads=("mel",),
        options={
            "width": 192,
            "layers": 4,
            "heads": 3,
            "dropout": 0.0,
            "patch_stride": 10,
            "frames": 0,
            "weights": "",
        },
        train={"epochs": 20, "learning_rate": 5e-4, "weight_decay": 0.05},
        mel_scale="audioset",
    ),
}


def find(name: str) -> System:
    """Return the system of that name; UserError names the nearest one where there is none."""
    if name not in SYSTEMS:
        raise UserError(f"unknown system {name!r}; {did_you_mean(name, SYSTEMS)}")
    return SYSTEMS[name]


def resolve(name: str, train: Mapping[str, Any], own: Mapping[str, Any]) -> tuple[TrainConfig, dict[str, Any]]:
    """Return how system `name` trains and its model's options.

    Laid over each other, later ones winning: TrainConfig's defaults, the system's, `train` (for every system), and
    `own` (for this system alone: training and model options mixed). Raises UserError for an unknown name or a wrong
    value.
    """
    system = find(name)
    known = {f.name: f.default for f in fields(TrainConfig)} | dict(system.options)
    settings(known, own)  # refuses a name that belongs to neither, before the two are told apart
    of_all = [*system.options, "inner_share", "score_views", "soft"]
    if system.solved and (of_steps := [key for key in own if key not in of_all]):
        raise UserError(
            f"{name} is solved at once, without steps that {of_steps[0]} could change; it has {', '.join(of_all)}"
        )
    options = settings(system.options, {key: own[key] for key in own if key in system.options})
    _check(options)
    return TrainConfig.of(system.train, train, {key: own[key] for key in own if key not in system.options}), options


def _check(options: Mapping[str, Any]) -> None:
    """Refuse a model's numbers that make no model, before there are hours of data to train it on."""
    for name in ("width", "layers", "heads", "channels", "context", "stride", "patch_stride", "C"):
        if options.get(name, 1) <= 0:
            raise UserError(f"{name} is {options[name]}; it must be a number above 0")
    for name in ("conv", "frames"):
        if options.get(name, 0) < 0:
            raise UserError(f"{name} is {options[name]}; it must be 0 or more")
    if not 0 <= options.get("dropout", 0) < 1:
        raise UserError(f"dropout is {options['dropout']}; it must be a share from 0 to below 1")
    if options.get("width", 0) % options.get("heads", 1):
        raise UserError(f"width {options['width']} is no multiple of heads {options['heads']}; change either")


def build(config: "TaggerConfig") -> "Tagger":
    """Return a fresh model of `config.system`; its weights come from torch's current generator."""
    return find(config.system).load()(config)


def save(model: "Tagger", folder: str | Path) -> None:
    """Write a model into an existing folder in the Hugging Face form: config.json and safetensors."""
    _no_progress_bar()
    model.save_pretrained(folder, save_original_format=False)  # under the names the model itself has for its weights


def load(folder: str | Path) -> "Tagger":
    """Return the trained model of a run's `model/` folder, in evaluation mode.

    Raises UserError where there is none, or a damaged one: transformers itself would draw the weights that it lacks.
    """
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise UserError(f"{folder} holds no model (config.json is missing); `audio-tokens train` writes one")
    _no_progress_bar()
    try:
        system = find(json.loads(config.read_bytes())["system"]).load()
        model, told = system.from_pretrained(folder, output_loading_info=True)
        if differing := sorted(map(str, {*told["missing_keys"], *told["unexpected_keys"], *told["mismatched_keys"]})):
            raise ValueError(f"{differing[0]} is missing or of another shape")
    except MODEL_DAMAGED as error:
        raise damaged(Path(folder), error) from None
    for parameter in model.parameters():  # mapped files lie at odd addresses, where products may round differently
        parameter.data = parameter.data.clone()
    return model.eval()


def _no_progress_bar() -> None:
    """Keep transformers from drawing a bar for one file of a moment."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
