"""run: every stage on your data, from audio to a leaderboard and a report.

The work folder holds `shards`, `<recipe>-<seed>[/fold-I]/{codebook, tokens.zarr, <system>}`, `leaderboard.json` and
`report.html`. With folds only the mel shards are shared: everything fitted is fitted again for every fold.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audio_tokens.engine.ranges import Count, Natural, check
from audio_tokens.engine.systems.registry import SYSTEMS, find
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts import leaderboard
from audio_tokens.jobs.build import Build, build
from audio_tokens.jobs.command import command
from audio_tokens.jobs.recipe import Recipe
from audio_tokens.jobs.training_recipe import trainable

PIPELINE_SYSTEMS = ("token-bag", "token-linear", "token-lstm", "token-bert", "raw-linear", "raw-cnn", "raw-bert")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Every stage on your data: build, cluster, encode, train, leaderboard, report.

    Args:
        source: KIND:WHERE, as for build, whose help lists them
        work: the folder that holds all artefacts
        recipe: a packaged recipe's name or a YAML file
        systems: the systems to train, e.g. token-bag,token-bert
        seeds: every system is trained once per seed, each with a codebook of its own
        folds: test every fold once, fitting on the others
        mel: the front end, mel22k, ast16k or speech16k
        workers: processes that build and encode; all cores unless given
        skip_failed: go on without what cannot be read of an input after three tries
        force: make every stage again, and replace what was made with another configuration
        allow: schemes of addresses that may be read besides file, http(s), s3, gs and hf, e.g. ftp,zip
    """

    source: str
    work: str
    recipe: Recipe = field(default_factory=Recipe)
    systems: tuple[str, ...] = PIPELINE_SYSTEMS
    seeds: tuple[Natural, ...] = (0,)
    folds: bool = False
    mel: str = "mel22k"
    workers: Count | None = None
    skip_failed: bool = False
    force: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        for system in self.systems:
            if self.recipe.views.count and len(find(system).reads) > 1:
                raise UserError(f"{system} reads mel beside every token, and views have none; leave out either")
            trainable(system).by(self.recipe)  # an hour before they are needed
        if not self.systems or not self.seeds:
            raise UserError("nothing to do: name at least one system (--systems) and one seed (--seeds)")


def run(request: Run) -> int:
    """Run all stages; those already done are skipped and named. Returns 1 when some build tasks failed, else 0."""
    from audio_tokens.jobs.inputs.learnable import problems_of, refuse, refuse_listed
    from audio_tokens.jobs.report import Report, report
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.sources.addresses.reach import allow
    from audio_tokens.shards.sources.registry import Surveyed, open_source

    work = Path(request.work)
    shards = work / "shards"
    allow(request.allow)
    source = open_source(request.source)
    refuse_listed(request.source, source)
    if isinstance(source, Surveyed):
        _folds(source.places, request.folds)
    failed = build(
        Build(
            source=request.source,
            out=str(shards),
            mel=request.mel,
            workers=request.workers,
            skip_failed=request.skip_failed,
            force=request.force,
        ),
        source,
    )
    if failed:
        return failed
    refuse(str(shards), problems_of(Dataset.open(shards)))
    for seed in request.seeds:
        for fold in _folds(Dataset.open(shards).places, request.folds):
            base = work / f"{request.recipe.name}-{seed}"
            train_all(request, shards, base if fold is None else base / f"fold-{fold}", seed, fold)
    rows = leaderboard.publish(work)
    report(Report(work=str(work)))
    print(f"\n{leaderboard.table(rows)}\n\n{work / 'leaderboard.json'}\n{work / 'report.html'}")
    return 0


def _folds(places: Sequence[str], wanted: bool) -> list[int | None]:
    """Return the folds to test, None where there are splits. Raises UserError where the data has not what is wanted."""
    folds = all(place.startswith("fold-") for place in places)
    if wanted and not folds:
        raise UserError(
            f"--folds needs data with folds, and this has the splits {', '.join(places)}; leave --folds out"
        )
    if folds and not wanted:
        raise UserError(f"this data has the folds {', '.join(places)} and no splits; add --folds")
    return [int(place.removeprefix("fold-")) for place in places] if wanted else [None]


def train_all(request: Run, shards: Path, base: Path, seed: int, fold: int | None) -> None:
    """Cluster, encode and train every system of one seed (and fold) below `base`."""
    from audio_tokens.jobs.cluster import Cluster, cluster
    from audio_tokens.jobs.encode import Encode, encode
    from audio_tokens.jobs.train import Train, train
    from audio_tokens.shards.dataset.manifest import Dataset

    codebook, tokens = str(base / "codebook"), str(base / "tokens.zarr")
    views, by_views = request.recipe.views, request.recipe.slices.whiten_by == "views"
    source = None
    if views.count or by_views:
        source = request.source or Dataset.open(shards).manifest["build"]["source"]
    if any("tokens" in SYSTEMS[system].reads for system in request.systems):
        cluster(
            Cluster(
                shards=str(shards),
                source=source if by_views else None,
                out=codebook,
                recipe=request.recipe,
                seed=seed,
                test_fold=fold,
                force=request.force,
            )
        )
        encode(
            Encode(
                shards=None if views.count else str(shards),
                source=source if views.count else None,
                views=views,
                seed=seed,
                top=request.recipe.top,
                codebook=codebook,
                out=tokens,
                workers=request.workers,
                skip_failed=request.skip_failed,
                force=request.force,
            )
        )
    for system in request.systems:
        train(
            Train(
                tokens=tokens if "tokens" in SYSTEMS[system].reads else None,
                shards=str(shards) if "mel" in SYSTEMS[system].reads else None,
                codebook=codebook if "tokens" in SYSTEMS[system].reads else None,
                system=system,
                out=str(base / system),
                recipe=request.recipe,
                seed=seed,
                test_fold=fold,
                force=request.force,
            )
        )


def main(argv: Sequence[str] | None = None) -> int:
    return command(Run, run, argv)


if __name__ == "__main__":
    sys.exit(main())
