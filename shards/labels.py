"""The label vocabulary of AudioSet: 527 classes with their ids in the ontology, and how to name some of them.

`audioset_labels.json` is made by `python -m audio_tokens.jobs.audioset_labels` from the files that Google publishes,
whose hashes it records; NOTICE says under which licences. Other sources bring label names of their own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

from audio_tokens.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Vocabulary:
    """Classes in the published order, and the ontology above them.

    Args:
        mids: machine id of each class ("/m/09x0r")
        names: display name of each class ("Speech")
        ontology: per machine id, of classes and of what lies above them, its name and its children
    """

    mids: tuple[str, ...]
    names: tuple[str, ...]
    ontology: dict[str, tuple[str, tuple[str, ...]]]

    @cached_property
    def name_of_mid(self) -> dict[str, str]:
        return dict(zip(self.mids, self.names, strict=True))

    def below(self, node: str) -> frozenset[str]:
        """Return the display names of the classes in the subtree of `node`, a name or a machine id of the ontology."""
        by_name = {name: mid for mid, (name, _) in self.ontology.items()}
        start = node if node in self.ontology else by_name.get(node)
        if start is None:
            raise UserError(f"the ontology has no {node!r}; {did_you_mean(node, by_name, form='{!r}')}")
        found, waiting = set(), [start]
        while waiting:
            mid = waiting.pop()
            if mid not in found:
                found.add(mid)
                waiting.extend(self.ontology[mid][1])
        return frozenset(self.name_of_mid[mid] for mid in found if mid in self.name_of_mid)


@lru_cache(maxsize=1)
def audioset() -> Vocabulary:
    """Return AudioSet's vocabulary, out of the package."""
    data = json.loads((resources.files("audio_tokens.shards") / "audioset_labels.json").read_text(encoding="utf-8"))
    return Vocabulary(
        tuple(mid for mid, _ in data["classes"]),
        tuple(name for _, name in data["classes"]),
        {mid: (name, tuple(children)) for mid, name, children in data["ontology"]},
    )


def choose_labels(wanted: str, labels: Sequence[str], counts: Sequence[int]) -> tuple[int, ...]:
    """Return the ids, ascending, of the labels that `wanted` names out of a data set's `labels`.

    `counts` are the clips of each label. `wanted` is a list separated by `;` of names ("Dog"), machine ids
    ("/m/0bt9lr"), subtrees of AudioSet's ontology ("below:Animal") and the most frequent ones ("top:50"); what any
    part names is chosen.

    Raises UserError for a part that names nothing.
    """
    chosen: set[int] = set()
    ids = {label: number for number, label in enumerate(labels)}
    for part in (part.strip() for part in wanted.split(";")):
        kind, _, value = part.partition(":")
        if kind == "top":
            if not value.isdecimal() or not int(value):
                raise UserError(f"class subset {part!r}: top:N needs a number above 0")
            chosen |= set(sorted(ids.values(), key=lambda number: (-counts[number], number))[: int(value)])
        elif kind == "below":
            chosen |= {ids[name] for name in audioset().below(value) if name in ids}
        else:
            name = audioset().name_of_mid.get(part, part) if part.startswith("/") else part
            if name not in ids:
                raise UserError(f"class subset: there is no label {part!r}; {did_you_mean(name, labels, form='{!r}')}")
            chosen.add(ids[name])
    if not chosen:
        raise UserError(f"class subset {wanted!r} names no label of this data set")
    return tuple(sorted(chosen))
