"""The card of a model folder: what it was trained on, how well it does and how sure that is, how to use it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from audio_tokens.engine.scores.bootstrap import interval
from audio_tokens.jobs.artefacts.predictions import Predictions
from audio_tokens.jobs.inputs.model_parts import ModelParts

REPLICATES = 200

CARD = """---
library_name: audio-tokens
pipeline_tag: audio-classification
license: other
tags: [audio-classification, audio-tokens, {system}]
---

# {system}: {labels} labels of sound

```python
from audio_tokens import AudioTagger

tagger = AudioTagger.from_pretrained("PATH OR HUB ID OF THIS FOLDER")
print(tagger("clip.wav", top=5))  # [{{"label": ..., "score": ...}}, ...]
```

After `import audio_tokens`, `pipeline("audio-classification", model=...)` of transformers loads it as well.

## Data

Trained on {clips_train:,} clips of data set `{data}`; tested on the {clips_eval:,} clips of `{place}`{seen}. {kind}

Labels: {names}

## Results on `{place}`

| figure | value | 95 % interval |
|---|---|---|
{figures}
{versions}
Intervals are from {replicates} bootstrap samples of the tested recordings or speakers. Evaluation id (sha256 of the
tested clips' keys, sorted, a line each): `{evaluation_id}`. Figures of two models compare where their evaluation ids
are equal.

## Recipe

```yaml
{recipe}```

## Limits

- It knows the labels above and nothing else; a sound of another kind gets scores for these all the same.
- Longer sounds are cut into windows as long as the longest training clip, whose probabilities are averaged.
- Scores rank labels; they were not calibrated.
- The figures are of clips recorded and labelled like the training clips.

## Licence

The code is MIT. The weights were fitted on the data above: its licence says what may be done with them.
"""


VERSIONS = """
Each clip was scored as the mean of itself and its views; `predict` and AudioTagger hear it as it is.
"""


def model_card(
    result: Mapping[str, Any], settings: Mapping[str, Any], predictions: Predictions, single: bool, parts: ModelParts
) -> str:
    """Return README.md of a model folder."""
    again = predictions.replicates(REPLICATES)
    sure = {name: interval(figures_R) for name, figures_R in again.items()}
    recipe: dict[str, Any] = {name: settings[name] for name in ("system", "seed", "options", "train")}
    if parts.codebook is not None:
        recipe["codebook"] = {
            "vocabulary": list(parts.codebook.vocab_sizes),
            "contexts": list(parts.codebook.slices.contexts),
            "stride": parts.codebook.slices.stride,
            "normalise": parts.codebook.slices.normalise,
            "whiten_by": parts.codebook.slices.whiten_by,
            "hash": parts.codebook.hash,
        }
    if parts.mel is not None:
        recipe["front_end"] = parts.mel.to_dict()
    return CARD.format(
        system=result["system"],
        labels=len(predictions.labels),
        clips_train=result["clips_train"],
        clips_eval=result["clips_eval"],
        data=settings["data"],
        place=result["eval_place"],
        seen=_seen(result, settings),
        kind="Every clip has exactly one label." if single else "A clip may have several labels.",
        names=", ".join(predictions.labels),
        figures="\n".join(
            _figure(name, result[name], sure.get(name)) for name in ("mAP", "mAUC", "dprime", "accuracy")
        ),
        versions=VERSIONS if settings["train"]["score_views"] else "",
        replicates=REPLICATES,
        evaluation_id=evaluation_id(predictions.keys),
        recipe=yaml.safe_dump(recipe, sort_keys=False, width=100),
    )


def evaluation_id(keys: Sequence[str]) -> str:
    """Return the sha256 (64 hex digits) of the keys of the tested clips: equal ids, equal clips."""
    return hashlib.sha256("".join(f"{key}\n" for key in sorted(keys)).encode()).hexdigest()


def _seen(result: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Say what has seen the tested clips before the test."""
    if "leak" in settings:
        return f", which the training was not kept from (leak: {settings['leak']})"
    if result["eval_place"] == "val":
        return ", which chose the epoch too, so that the figures flatter it"
    return ", which neither the training nor any choice has seen"


def _figure(name: str, value: float | None, sure: tuple[float, float] | None) -> str:
    if value is None:
        return f"| {name} | - | |"
    scale = 1 if name == "dprime" else 100
    unit = "" if name == "dprime" else " %"
    bounds = f"{scale * sure[0]:.1f} to {scale * sure[1]:.1f}{unit}" if sure else ""
    return f"| {name} | {scale * value:.2f}{unit} | {bounds} |"
