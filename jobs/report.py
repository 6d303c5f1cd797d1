"""report: a work folder -> report.html, one page that holds its pictures and sounds, without a network."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_tokens.errors import UserError, checked, damaged, json_of
from audio_tokens.jobs.command import command

if TYPE_CHECKING:
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.jobs.artefacts.report.runs import FinishedRun, RunGroup
    from audio_tokens.jobs.artefacts.report.sounds import Sample
    from audio_tokens.jobs.display.report.facts import ClipView, CodebookView, Judged, OrderView
    from audio_tokens.jobs.display.report.facts import Report as Facts
    from audio_tokens.shards.dataset.manifest import Dataset

WORST, VIEWED = 12, 6  # clips that are shown: those with the highest loss, and some from the worst to the best


@dataclass(frozen=True, kw_only=True)
class Report:
    """A work folder -> report.html, one page that loads nothing from a network.

    Args:
        work: the work folder of `run` or `demo`
    """

    work: str


def report(job: Report) -> int:
    """Write `report.html` into the work folder; its figures are those of the runs that lie there."""
    from audio_tokens.jobs.artefacts.leaderboard import WAIT_S
    from audio_tokens.jobs.artefacts.report.runs import run_groups
    from audio_tokens.jobs.display.report.page import page
    from audio_tokens.shards.publish import publish_bytes, target_lock

    work = Path(job.work)
    if not work.is_dir():
        raise UserError(f"work folder {job.work!r} does not exist; `audio-tokens run --work {job.work}` makes it")
    main_figure, groups = run_groups(work)
    if not groups:
        raise UserError(
            f"work folder {job.work!r} holds no finished run; `audio-tokens run --work {job.work}` makes some"
        )
    with target_lock(work / "report.html", wait_s=WAIT_S):
        publish_bytes(work / "report.html", page(_gather(work, main_figure, groups)).encode())
    return 0


def _gather(work: Path, main_figure: str, groups: "Sequence[RunGroup]") -> "Facts":
    from audio_tokens.jobs.artefacts.report import order, runs
    from audio_tokens.jobs.artefacts.report.sounds import samples_of
    from audio_tokens.jobs.display.report.facts import Report as Facts
    from audio_tokens.shards.dataset.manifest import Dataset

    dataset, clips = Dataset.open(work / "shards"), runs.judged(groups[0])
    worst = clips[:WORST]
    viewed = [clips[round(place * (len(clips) - 1) / (VIEWED - 1))] for place in range(VIEWED)]
    viewed = list({clip.key: (run, clip) for run, clip in viewed}.values())
    classes, pair = runs.class_rows(groups), order.order_pair(groups)
    gaining = order.clips_that_gain(*pair, classes) if pair else []
    shown = {clip.key for clip in [clip for _, clip in (*worst, *viewed)] + [clip for _, clip, *_ in gaining]}
    samples, silent = samples_of(dataset, shown)
    notes = [_leaks(groups), silent]
    return Facts(
        title=work.resolve().name,
        source=dataset.manifest["build"]["source"],
        places={place: sum(s.clips for s in dataset.shards if s.place == place) for place in dataset.places},
        labels=len(dataset.labels),
        main=main_figure,
        chance=runs.chance(groups),
        rows=runs.leaderboard_rows(groups, main_figure),
        curves=runs.learning_curves(groups),
        classes=classes,
        order=_order_view(pair, gaining, samples) if pair else None,
        confusions=[runs.confusion(group) for group in groups],
        worst=[replace(clip, sound=samples[clip.key].sound) for _, clip in worst],
        clips=_clip_views(viewed, samples),
        codebooks=_codebook_views(groups, samples),
        rejects=rejects_of(work / "shards"),
        command=_command(work, dataset, groups),
        settings={group.name: _settings(group) for group in groups},
        dates=_dates(work),
        notes=[note for note in notes if note],
    )


def _leaks(groups: "Sequence[RunGroup]") -> str | None:
    from audio_tokens.jobs.artefacts.run_folder import RunFolder

    leaks = {
        f"{group.name} ({leak})"
        for group in groups
        for run in group.runs
        if (leak := RunFolder(run.path).settings().get("leak"))
    }
    return f"Figures that the tested clips had a hand in: {', '.join(sorted(leaks))}." if leaks else None


def _tokenizer(run: "FinishedRun") -> "AudioTokenizer | None":
    """Return the tokenizer that lies beside a run, fitted on what the run was."""
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer

    folder = run.path.parent / "codebook"
    return AudioTokenizer.from_pretrained(folder) if (folder / "config.json").is_file() else None


def _clip_views(viewed: "Sequence[tuple[FinishedRun, Judged]]", samples: "dict[str, Sample]") -> "list[ClipView]":
    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
    from audio_tokens.jobs.artefacts.report.simple_tokens import simple_tokenizer
    from audio_tokens.jobs.artefacts.report.sounds import clip_view

    views: list[ClipView] = []
    simple: AudioTokenizer | None = None
    for run, clip in viewed:
        if (tokenizer := _tokenizer(run)) is not None:
            simple = simple or simple_tokenizer([sample.mel_TF for sample in samples.values()], tokenizer.mel)
            views.append(clip_view(tokenizer, simple, AudioTagger.from_pretrained(run.path), clip, samples[clip.key]))
    return views


def _order_view(
    pair: "tuple[RunGroup, RunGroup]",
    gaining: "Sequence[tuple[FinishedRun, Judged, str, float]]",
    samples: "dict[str, Sample]",
) -> "OrderView":
    from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
    from audio_tokens.jobs.artefacts.report.order import evidence
    from audio_tokens.jobs.display.report.facts import OrderView

    found = [
        evidence(
            AudioTagger.from_pretrained(run.path),
            replace(clip, sound=samples[clip.key].sound),
            label,
            bag,
            samples[clip.key],
        )
        for run, clip, label, bag in gaining
    ]
    return OrderView(sequence=pair[0].name, bag=pair[1].name, evidence=found)


def _codebook_views(groups: "Sequence[RunGroup]", samples: "dict[str, Sample]") -> "list[CodebookView]":
    """Return the first codebook of every recipe."""
    from audio_tokens.jobs.artefacts.report.sounds import codebook_views

    views: dict[str, list[CodebookView]] = {}
    for group in groups:
        if group.recipe not in views and (tokenizer := _tokenizer(group.runs[0])) is not None:
            tokens = group.runs[0].path.parent / "tokens.zarr"
            views[group.recipe] = codebook_views(f"recipe {group.recipe}", tokenizer, tokens, samples)
    return [view for of_recipe in views.values() for view in of_recipe]


def rejects_of(shards: Path) -> dict[str, tuple[int, str]]:
    """Return {reason: (clips, one of them)}, the most frequent first. Raises UserError where the list is damaged."""
    file = shards / "rejects.jsonl"
    lines = file.read_bytes().splitlines() if file.is_file() else []
    try:
        rows = [checked(json_of(line), {"id": str, "reason": str}) for line in lines]
    except ValueError as error:
        raise damaged(file, error) from None
    counts = Counter(row["reason"] for row in rows)
    first: dict[str, str] = {}
    for row in rows:
        first.setdefault(row["reason"], row["id"])
    return {reason: (count, first[reason]) for reason, count in counts.most_common()}


def _command(work: Path, dataset: "Dataset", groups: "Sequence[RunGroup]") -> str:
    """Return the commands that make these runs, a recipe each."""
    source, mel = dataset.manifest["build"]["source"], dataset.manifest["build"]["mel"]
    lines = []
    for recipe in dict.fromkeys(group.recipe for group in groups):
        mine = [group for group in groups if group.recipe == recipe]
        seeds = ",".join(map(str, sorted({seed for group in mine for seed in group.seeds})))
        words = f"audio-tokens run --source {source} --work {work.name} --recipe {recipe} --mel {mel}"
        words += f" --systems {','.join(sorted({group.system for group in mine}))} --seeds {seeds}"
        lines.append(words + (" --folds" if dataset.folds else ""))
    return "\n".join(lines)


def _settings(group: "RunGroup") -> str:
    """Return the configuration of a group's first run, without the places of its data on this machine."""
    import yaml

    from audio_tokens.jobs.artefacts.run_folder import RunFolder

    settings: dict[str, Any] = RunFolder(group.runs[0].path).settings()
    return yaml.safe_dump({k: v for k, v in settings.items() if k not in ("tokens", "shards")}, sort_keys=False)


def _dates(work: Path) -> dict[str, str]:
    """Return when each part of the work folder was published."""
    files = [work / "shards" / "dataset.json"]
    for pattern in ("codebook/config.json", "tokens.zarr/zarr.json", "*/result.json"):
        files += [*sorted(work.glob(f"*/{pattern}")), *sorted(work.glob(f"*/fold-*/{pattern}"))]
    return {
        str(file.parent.relative_to(work)): f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d %H:%M}"
        for file in files
    }


def main(argv: Sequence[str] | None = None) -> int:
    return command(Report, report, argv)


if __name__ == "__main__":
    sys.exit(main())
