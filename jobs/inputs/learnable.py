"""Whether a data set can be learnt from and tested on: told before any work, where its listing tells."""

from collections.abc import Sequence

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.registry import Source, Surveyed


def problems(labels: Sequence[str], single_label: bool, places: Sequence[str]) -> list[str]:
    """Return why data with clips of these labels and places teaches nothing, with the remedies; [] where it can.

    One label is enough where clips may have none; clips that validate may stand in for those that test.
    """
    found = []
    if not labels:
        found.append("no clip has a label; add some")
    elif len(labels) < 2 and single_label:
        found.append(f"every clip is of one class, {labels[0]}; add clips of another")
    if all(place.startswith("fold-") for place in places):
        if len(places) < 2:
            found.append(f"there is no fold to learn from beside {', '.join(places) or 'none'}; two are needed")
        return found
    remedy = f"of {', '.join(places)} alone; mark some, or name no splits, and one is drawn"
    if "train" not in places:
        found.append(f"there are no clips to train on, {remedy}")
    if not {"val", "test"}.intersection(places):
        found.append(f"there are no test clips, {remedy}")
    return found


def problems_of(dataset: Dataset) -> list[str]:
    """Return why a built data set teaches nothing; of its labels only those count that a clip has."""
    counts = dataset.manifest["label_counts"].values()
    occurring = [label for label, *numbers in zip(dataset.labels, *counts, strict=True) if any(numbers)]
    return problems(occurring, dataset.single_label, dataset.places)


def refuse(where: str, found: Sequence[str]) -> None:
    """Raise UserError where there are problems, with all of them."""
    if found:
        raise UserError(f"{where}: {'; '.join(found)}")


def refuse_listed(where: str, source: Source) -> None:
    """Raise UserError where the listing of a source, if it has one, shows that it teaches nothing."""
    if isinstance(source, Surveyed):
        refuse(where, problems(source.labels, source.single_label, source.places))
