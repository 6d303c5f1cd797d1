"""quality: what the tokens of a codebook carry, as JSON and pictures."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Say what the tokens of a codebook carry: quality.json and pictures.

    Args:
        shards: the folder of the mel shards
        codebook: the folder of the codebook
        tokens: the token store of those shards by that codebook
        out: the folder of quality.json and the pictures
        clips: clips that are decoded, at most, to measure what the tokens lose
        force: replace a report that was made otherwise
    """

    shards: str
    codebook: str
    tokens: str
    out: str
    clips: int = 400
    force: bool = False

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UserError(f"clips is {self.clips}; it must be at least 1")


def quality(job: Quality) -> None:
    """Measure the codebook on the splits or folds it was not fitted on, where there are any, else on all."""
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.jobs.artefacts.fingerprints import digest, is_done
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.jobs.display.quality_figures import draw, reconstruction, stream_figures
    from audio_tokens.jobs.inputs.training_data import see_labels
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.publish import published_folder, target_lock
    from audio_tokens.shards.tokens.token_store import TokenStore

    out = Path(job.out)
    claim(out, "quality report", [job.shards, job.codebook, job.tokens])
    dataset, store = Dataset.open(job.shards), TokenStore.open(job.tokens)
    tokenizer = AudioTokenizer.from_pretrained(job.codebook)
    if store.codebook_hash != tokenizer.codebook.hash or store.dataset_hash != dataset.hash:
        raise UserError(f"{job.tokens} was not made from {job.shards} by {job.codebook}; encode again")
    see_labels(store.labels)
    fingerprint = digest(dataset.hash, tokenizer.codebook.hash, store.attributes["fingerprint"], job.clips)
    with target_lock(out):
        if is_done(out, "quality report", fingerprint, force=job.force):
            print((out / "quality.json").read_text(), end="")
            return
        fitted = tuple(tokenizer.codebook.origin["places"])
        unseen = tuple(place for place in store.places if place not in fitted) or store.places
        samples = islice((s for index in dataset.shards_of(*unseen) for s in dataset.read(index)), job.clips)
        clips = [(sample.key, sample.array_TF) for sample in samples]
        figures: dict[str, Any] = {
            "fingerprint": fingerprint,
            "places": list(unseen),
            "fitted_on": list(fitted),
            "distortion": {str(row["stream"]): row["distortion"] for row in tokenizer.codebook.history},
            "streams": stream_figures(store, unseen),
            **reconstruction(tokenizer, [mel_TF for _, mel_TF in clips]),
            "token_bag": _bag_score(job.tokens, fitted, unseen),
        }
        with published_folder(out) as folder:
            draw(folder, tokenizer, *clips[len(clips) // 2])
            (folder / "quality.json").write_text(json.dumps(figures, indent=1) + "\n")
        print(json.dumps(figures, indent=1))


def _bag_score(tokens: str, fitted: Sequence[str], unseen: Sequence[str]) -> dict[str, Any] | None:
    """Return how well a token-bag fitted where the codebook was does on what it has not seen; none where it saw all."""
    from audio_tokens.engine.systems.options import TokenBagOptions
    from audio_tokens.engine.systems.token_bag import TokenBag
    from audio_tokens.engine.training.evaluation import evaluate
    from audio_tokens.engine.world import processes
    from audio_tokens.jobs.display.loudness import say_progress
    from audio_tokens.jobs.inputs.training_data import open_data

    if set(fitted) & set(unseen):
        return None
    data = open_data(tokens, None)
    (clips, _), (tested, _) = data.read(tuple(fitted)), data.read(tuple(unseen))
    with processes() as accelerator:
        bag = TokenBag(data.tagger("token-bag", asdict(TokenBagOptions()))).to(accelerator.device)
        bag.solve(clips, say_progress)
        found, _ = evaluate(bag, tested, accelerator)
    return {"clips": found.clips, "mAP": found.mAP, "mAUC": found.mAUC, "accuracy": found.accuracy}


def main(argv: Sequence[str] | None = None) -> int:
    return command(Quality, quality, argv)


if __name__ == "__main__":
    sys.exit(main())
