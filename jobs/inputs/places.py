"""Which splits or folds something may be fitted on."""

from typing import Protocol, runtime_checkable

from audio_tokens.errors import UserError


@runtime_checkable
class Placed(Protocol):
    """Data whose clips lie in splits or folds."""

    @property
    def folds(self) -> bool: ...
    @property
    def places(self) -> tuple[str, ...]: ...


def fitted_places(dataset: Placed, test_fold: int | None) -> tuple[str, ...]:
    """Return the splits or folds something may be fitted on: all folds but the tested one, or the train split.

    Raises UserError where the data has no such fold, no folds at all, or no train split.
    """
    if dataset.folds:
        tested = f"fold-{test_fold}"
        if test_fold is not None and tested not in dataset.places:
            raise UserError(f"--test-fold {test_fold}: the data has {', '.join(dataset.places)}")
        return tuple(place for place in dataset.places if place != tested)
    if test_fold is not None:
        raise UserError(f"--test-fold {test_fold}: the data has splits ({', '.join(dataset.places)}), not folds")
    if "train" not in dataset.places:
        raise UserError(f"the data has no train split to fit on, only {', '.join(dataset.places)}")
    return ("train",)


def tested_place(dataset: Placed, test_fold: int | None) -> str:
    """Return the split or fold that is tested: fold `test_fold`, else `test`, and `val` where there is none.

    Raises UserError for folds of which none is named, and data with none of these.
    """
    if dataset.folds and test_fold is None:
        raise UserError(f"this data has the folds {', '.join(dataset.places)}; --test-fold I names the one to test")
    place = f"fold-{test_fold}" if dataset.folds else "test" if "test" in dataset.places else "val"
    if place not in dataset.places:
        raise UserError(f"the data has no clips of {place} to test on, only {', '.join(dataset.places)}")
    return place


def stored(tokens: str | None, shards: str | None) -> Placed:
    """Return the store of tokens, or else the mel shards, by their manifest alone: no torch, a tenth of a second.

    Raises UserError where there is none, a damaged one, or one behind a URL: a training reads clips at random.
    """
    for option, given in (("tokens", tokens), ("shards", shards)):
        if given is not None and "://" in given:
            raise UserError(f"--{option} {given} is read at random, clip by clip; copy it to a local folder first")
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.tokens.token_store import TokenStore

    return TokenStore.open(tokens) if tokens is not None else Dataset.open(str(shards))
