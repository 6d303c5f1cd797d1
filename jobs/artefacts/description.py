"""What an artefact is, what made it and whether it is whole: as facts for programs, and from those in words.

C clips, L labels, Q token streams.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from audio_tokens.errors import UserError, checked, damaged, json_of

Facts = dict[str, Any]

BAR = 30  # characters of the longest bar of a histogram


def facts_of(folder: Path, kind: str) -> Facts:
    """Return what the artefact of that kind in `folder` is. Raises UserError where it is damaged or unfinished."""
    return {"artefact": str(folder), "kind": kind, **FACTS[kind](folder), **_wholeness(folder), **_origin(folder)}


def words_of(facts: Facts, most_labels: int) -> Iterator[str]:
    """Yield the lines that say in words what `facts_of` found; `most_labels` of the labels are listed."""
    yield f"{facts['artefact']}: {TITLES[facts['kind']].format(**facts)}"
    yield from (f"  {line}" for line in WORDS[facts["kind"]](facts, most_labels))
    for role, parent in facts["made_from"].items():
        where = parent["folder"] or "which is not found near it" * (role != "listing")
        yield f"  made from the {role} {str(parent['id'])[:12]} {where}".rstrip()
    if facts["faults"]:
        yield from (f"  not whole: {fault}" for fault in facts["faults"])
    elif facts["files"] is not None:
        yield f"  whole: {facts['files']} files are there at their full size; `audio-tokens verify` re-reads them"


def _wholeness(folder: Path) -> Facts:
    """Return what can be told without reading the files: whether all are there, at the size they were written with."""
    from audio_tokens.shards.integrity import INTEGRITY, read_integrity

    if not (folder / INTEGRITY).is_file():
        missing = None if (folder / "front_end.json").is_file() else f"{INTEGRITY} is missing"  # a model has none
        return {"id": None, "whole": missing is None, "files": None, "faults": [missing] if missing else []}
    try:
        integrity = read_integrity(folder)
    except UserError as error:
        return {"id": None, "whole": False, "files": None, "faults": [str(error)]}
    faults = []
    for name, entry in sorted({**integrity.files, **integrity.added}.items()):
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != entry.bytes:
            faults.append(f"{name} is missing" if found is None else f"{name} has {found} bytes of {entry.bytes}")
    files = len(integrity.files) + len(integrity.added)
    return {"id": integrity.id, "whole": not faults, "files": files, "faults": faults}


def _origin(folder: Path) -> Facts:
    """Return the artefacts that this one was made from, by their role, and where they lie now."""
    from audio_tokens.jobs.artefacts.lineage import ancestry

    try:
        parents = [ancestor for ancestor in ancestry(folder) if ancestor.depth == 1]
    except UserError:  # no manifest, or a damaged one, which is said already
        parents = []
    return {
        "made_from": {
            each.role: {"id": each.id, "folder": None if each.folder is None else str(each.folder)} for each in parents
        }
    }


def _shards(folder: Path) -> Facts:
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset = Dataset.open(folder)
    totals, counts = dataset.manifest["totals"], dataset.manifest["label_counts"].values()
    places = {
        place: {
            "clips": sum(shard.clips for shard in dataset.shards if shard.place == place),
            "seconds": sum(shard.seconds for shard in dataset.shards if shard.place == place),
        }
        for place in dataset.places
    }
    totals_L = [sum(column) for column in zip(*counts, strict=True)] or [0] * len(dataset.labels)
    return {
        "source": dataset.manifest["build"]["source"],
        **{name: totals[name] for name in ("clips", "seconds", "frames", "bytes", "rejected")},
        "shards": len(dataset.shards),
        "places": places,
        "single_label": dataset.single_label,
        "labels": dict(zip(dataset.labels, totals_L, strict=True)),
        "front_end": dataset.producer["mel"],
    }


def _shard_words(facts: Facts, most_labels: int) -> Iterator[str]:
    yield (
        f"{facts['clips']:,} clips, {facts['seconds'] / 3600:.2f} hours, {facts['frames']:,} frames, "
        f"{facts['bytes'] / 1e6:,.1f} MB in {facts['shards']} shards; {facts['rejected']:,} clips rejected"
    )
    yield _front_end_words(facts["front_end"])
    for place, found in facts["places"].items():
        yield f"{place:<8}{found['clips']:>10,} clips {found['seconds'] / 3600:>10.2f} hours"
    yield f"{len(facts['labels'])} labels{', one a clip' if facts['single_label'] else ''}:"
    ranked = sorted(facts["labels"].items(), key=lambda item: -item[1])
    for label, count in ranked[:most_labels]:
        bar = "#" * -(-BAR * count // max(1, ranked[0][1]))
        yield f"{label:<28.28}{count:>9,} {bar}".rstrip()
    if len(ranked) > most_labels:
        yield f"... and {len(ranked) - most_labels} more, the rarest {ranked[-1][0]!r}"


def _tokens(folder: Path) -> Facts:
    import numpy as np

    from audio_tokens.shards.tokens.token_group import BLOCK_ROWS
    from audio_tokens.shards.tokens.token_store import TokenStore

    store = TokenStore.open(folder)
    places, lengths = {}, [np.zeros(0, np.int64)]
    counts = [np.zeros(size, np.int64) for size in store.vocab_sizes]
    for place in store.places:
        group = store.group(place).load()
        places[place] = {"clips": len(group), "positions": len(group.ids_PQ)}
        lengths.append(np.diff(group.offsets))
        for start in range(0, len(group.ids_PQ), BLOCK_ROWS):  # numpy counts 8 bytes a token
            for stream, counts_K in enumerate(counts):
                block = group.ids_PQ[start : start + BLOCK_ROWS, stream]
                counts_K += np.bincount(block, minlength=len(counts_K))
    lengths_C = np.concatenate(lengths)
    return {
        "codebook": store.codebook_hash,
        "clips": len(lengths_C),
        "positions": int(lengths_C.sum()),
        "places": places,
        "vocabulary": list(store.vocab_sizes),
        "used": [_usage(counts_K) for counts_K in counts],
        "positions_a_clip": _spread(lengths_C),
        "context_frames": store.attributes.get("context_frames"),
        "stride_frames": store.attributes.get("stride_frames"),
        "views": store.views,
        "alternatives": store.group(*store.places).alternatives or 1,
        "single_label": store.single_label,
        "labels": list(store.labels),
    }


def _token_words(facts: Facts, most_labels: int) -> Iterator[str]:
    spread = facts["positions_a_clip"]
    yield (
        f"{facts['clips']:,} clips of {spread['least']:,} to {spread['most']:,} positions (median "
        f"{spread['median']:,.0f}), {facts['positions']:,} in all"
    )
    for place, found in facts["places"].items():
        yield f"{place:<8}{found['clips']:>10,} clips {found['positions']:>12,} positions"
    yield from _vocabulary_words(facts)
    if facts["stride_frames"] is not None:
        yield f"a position stands for {facts['context_frames']} frames of mel, a new one every {facts['stride_frames']}"
    if facts["alternatives"] > 1:
        yield f"the {facts['alternatives']} nearest tokens of every position lie beside it"
    if facts["views"]:
        yield f"{facts['views']} views of every clip lie beside it"
    yield f"{len(facts['labels'])} labels{', one a clip' if facts['single_label'] else ''}"


def _codebook(folder: Path) -> Facts:
    from audio_tokens.engine.codebook.codebook_file import Codebook

    codebook = Codebook.load(folder)
    slices, mel = codebook.slices, codebook.mel
    return {
        "hash": codebook.hash,
        "vocabulary": list(codebook.vocab_sizes),
        "used": [_usage(stream.usage_K) for stream in codebook.streams],
        "dimensions": [stream.centroids_KD.shape[1] for stream in codebook.streams],
        "contexts": list(slices.contexts),
        "stride": slices.stride,
        "position_s": slices.stride * mel["hop_samples"] / mel["rate_hz"],
        "normalise": slices.normalise,
        "whiten_by": slices.whiten_by if slices.whiten_variance or slices.whiten_dims else None,
        "metric": codebook.metric,
        "distortion": codebook.history[-1]["distortion"] if codebook.history else None,
        "origin": codebook.origin,
        "front_end": mel,
    }


def _codebook_words(facts: Facts, most_labels: int) -> Iterator[str]:
    yield from _vocabulary_words(facts)
    frames = " and ".join(map(str, facts["contexts"]))
    yield f"a token stands for {frames} frames of mel, a new one every {1000 * facts['position_s']:.0f} ms"
    widths = " and ".join(map(str, facts["dimensions"]))
    how = f"clips normalised by {facts['normalise']}"
    how += ", slices whitened by views" if facts["whiten_by"] == "views" else ""
    yield f"centroids of {widths} dimensions, compared by {facts['metric']}, {how}"
    yield _front_end_words(facts["front_end"])
    origin = facts["origin"]
    if "places" in origin:
        leak = f"; leak: {origin['leak']}" if origin.get("leak") else ""
        yield f"fitted on {', '.join(origin['places'])} with seed {origin.get('seed')}{leak}"
    if facts["distortion"] is not None:
        yield f"distortion {facts['distortion']:.4f} after the last pass"


def _run(folder: Path) -> Facts:
    from audio_tokens.jobs.artefacts.run_folder import RunFolder

    run = RunFolder(folder)
    result, settings = run.result(), run.settings()
    evaluations = {}
    for file in sorted(folder.glob("evaluation-*.json")):
        try:
            found = checked(json_of(file.read_bytes()), {"split": str, "clips": int, "mAP": (float, int, NoneType)})
        except ValueError as error:
            raise damaged(file, error) from None
        evaluations[found["split"]] = {"clips": found["clips"], "mAP": found["mAP"]}
    return {
        **result,
        "system": settings["system"],
        "options": settings.get("options", {}),
        "learnt_from": settings.get("learnt_from"),
        "evaluations": evaluations,
        "tags_sound": (folder / "model" / "front_end.json").is_file(),
    }


def _run_words(facts: Facts, most_labels: int) -> Iterator[str]:
    learnt = f" of {', '.join(facts['learnt_from'])}" if facts["learnt_from"] else ""
    yield f"learnt from {facts['clips_train']:,} clips{learnt} with seed {facts['seed']}"
    if "pretrained" in facts:
        yield f"{facts['train_loss']:.3f} nats a hidden token; `audio-tokens train --init` starts from it"
    else:
        yield (
            f"mAP {_figure(facts['mAP'])}, mAUC {_figure(facts['mAUC'])}, accuracy {_figure(facts['accuracy'])} on the "
            f"{facts['clips_eval']:,} clips of {facts.get('eval_place')}; {facts['parameters']:,} parameters, "
            f"{facts['seconds']:.0f} s"
        )
        for split, found in facts["evaluations"].items():
            yield f"evaluated on {split}: mAP {_figure(found['mAP'])} on {found['clips']:,} clips"
        yield "its model tags sound" if facts["tags_sound"] else "its model scores stored data alone"
    if facts.get("leak"):
        yield f"leak: {facts['leak']}"
    if facts["options"]:
        yield "options: " + ", ".join(f"{name} {value}" for name, value in facts["options"].items())


def _model(folder: Path) -> Facts:
    from audio_tokens.engine.systems.registry import find

    try:
        config = json_of((folder / "config.json").read_bytes())
        system, labels, options = config["system"], list(config["id2label"].values()), config["options"]
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{folder}/config.json is no configuration of a model ({error}); train the run again") from None
    needed = ["front_end.json", *(["codebook/config.json"] if "tokens" in find(system).reads else [])]
    return {
        "system": system,
        "labels": labels,
        "options": options,
        "vocabulary": config.get("vocab_sizes", []),
        "tags_sound": all((folder / name).is_file() for name in needed),
    }


def _model_words(facts: Facts, most_labels: int) -> Iterator[str]:
    names = ", ".join(facts["labels"][:most_labels])
    yield f"{len(facts['labels'])} labels: {names}{' ...' if len(facts['labels']) > most_labels else ''}"
    yield (
        "it tags sound" if facts["tags_sound"] else "it scores stored data alone: its front end or codebook is missing"
    )


def _usage(counts_K: Any) -> Facts:
    from audio_tokens.engine.codebook.token_quality import entropy_bits

    total = int(counts_K.sum())
    return {
        "tokens": int((counts_K > 0).sum()),
        "perplexity": float(2 ** entropy_bits(counts_K)) if total else 0.0,
        "most_share": float(counts_K.max() / total) if total else 0.0,
    }


def _spread(lengths_C: Any) -> Facts:
    import numpy as np

    if not len(lengths_C):
        return {"least": 0, "median": 0.0, "most": 0}
    return {"least": int(lengths_C.min()), "median": float(np.median(lengths_C)), "most": int(lengths_C.max())}


def _vocabulary_words(facts: Facts) -> Iterator[str]:
    for stream, (size, used) in enumerate(zip(facts["vocabulary"], facts["used"], strict=True)):
        name = f"stream {stream + 1}: " if len(facts["vocabulary"]) > 1 else ""
        yield (
            f"{name}vocabulary of {size:,}, of which {used['tokens']:,} are used, as varied as "
            f"{used['perplexity']:,.0f} equally frequent ones; the most frequent is {used['most_share']:.1%} of all"
        )


def _front_end_words(mel: Mapping[str, Any]) -> str:
    hop_ms = 1000 * mel["hop_samples"] / mel["rate_hz"]
    return (
        f"mel of {mel['bands']} bands ({mel['kind']}, {mel['scale']}) at {mel['rate_hz']:,} Hz, every {hop_ms:.1f} ms"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


FACTS: dict[str, Callable[[Path], Facts]] = {
    "shards": _shards,
    "tokens": _tokens,
    "codebook": _codebook,
    "run": _run,
    "model": _model,
}
WORDS: dict[str, Callable[[Facts, int], Iterator[str]]] = {
    "shards": _shard_words,
    "tokens": _token_words,
    "codebook": _codebook_words,
    "run": _run_words,
    "model": _model_words,
}
TITLES = {
    "shards": "mel shards of {source}",
    "tokens": "tokens of codebook {codebook:.12}",
    "codebook": "a codebook, {hash:.12}",
    "run": "a run of {system}",
    "model": "a trained {system}",
}
