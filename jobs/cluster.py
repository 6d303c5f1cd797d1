"""cluster: mel shards become a codebook; alone or under `accelerate launch`, with the same result."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_tokens.engine.ranges import Natural, check
from audio_tokens.errors import UserError
from audio_tokens.jobs.command import command
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.recipe import CodebookRecipe

if TYPE_CHECKING:
    from audio_tokens.engine.codebook.fit_codebook import CodebookFit, FitCheckpoint
    from audio_tokens.shards.dataset.manifest import ShardEntry

SAID_BYTES = 1 << 28


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Fit a codebook to mel shards.

    The same command resumes a fit that was interrupted.

    Args:
        shards: the folder of the mel shards, or its URL
        out: the folder of the codebook
        source: the sound that the shards were built from; wanted, and read, where `slices.whiten_by` is views
        recipe: a packaged recipe's name or a YAML file; of its parts, `slices`, `kmeans` and `views` are read
        seed: of every draw
        test_fold: the fold that is left out, to be tested on; data with splits is fitted on its train split
        force: replace a codebook that was fitted otherwise
        allow: schemes of addresses that may be read besides file, http(s), s3, gs and hf, e.g. ftp,zip
    """

    shards: str
    out: str
    source: str | None = None
    recipe: CodebookRecipe = field(default_factory=CodebookRecipe)
    seed: Natural = 0
    test_fold: int | None = None
    force: bool = False
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        if (self.recipe.slices.whiten_by == "views") != (self.source is not None):
            raise UserError(
                "slices.whiten_by views compares clips with views made from sound: name --source SOURCE, as for build"
                if self.source is None
                else f"--source {self.source} is read where slices.whiten_by is views; leave it out"
            )


def cluster(request: Cluster) -> None:
    """Fit the codebook, or go on where an interrupted fit stopped; nothing is done where it is complete already."""
    from audio_tokens.jobs.artefacts.outputs import claim
    from audio_tokens.jobs.inputs.places import fitted_places
    from audio_tokens.shards.dataset.manifest import Dataset
    from audio_tokens.shards.sources.addresses.reach import allow

    claim(request.out, "codebook", [request.shards, request.source])
    allow(request.allow)
    dataset = Dataset.open(request.shards)
    places = fitted_places(dataset, request.test_fold)  # a mistake so far is told before anything heavy is imported

    from audio_tokens.engine.codebook.codebook_file import FORMAT
    from audio_tokens.engine.codebook.fit_checkpoint import from_bytes, to_bytes
    from audio_tokens.engine.codebook.fit_codebook import CodebookFit
    from audio_tokens.engine.codebook.nearest.search import best_nearest
    from audio_tokens.engine.sound.log_mel import MelConfig
    from audio_tokens.engine.world import joined_world
    from audio_tokens.jobs.artefacts.fingerprints import digest, is_done
    from audio_tokens.jobs.artefacts.hosts import see_one_folder
    from audio_tokens.jobs.display.progress import clip_bar
    from audio_tokens.jobs.inputs.mel_lanes import MelLanes, mel_of
    from audio_tokens.jobs.inputs.view_pairs import ViewPairs, compared
    from audio_tokens.shards.integrity import files_below, ids_of, seal
    from audio_tokens.shards.publish import publish_bytes, published_folder, target_lock
    from audio_tokens.shards.sources.registry import open_source

    parents = ids_of(shards=request.shards)
    by_views = open_source(request.source) if request.source else None
    origin: dict[str, Any] = {"dataset": dataset.hash, "places": list(places), "seed": request.seed}
    if dataset.folds and request.test_fold is None:
        origin["leak"] = "all-folds"
    slices, kmeans = request.recipe.slices, request.recipe.kmeans
    mel = MelConfig.from_dict(mel_of(dataset)).to_dict()
    if by_views:
        parents["listing"] = digest(request.source, by_views.labels, [asdict(task) for task in by_views.tasks()])
        origin |= {"views": asdict(compared(request.recipe.views)), "listing": parents["listing"]}
    origin["fingerprint"] = digest(origin, mel, slices.to_dict(), asdict(kmeans))
    out = Path(request.out)
    checkpoint = out.with_name(f".{out.name}.checkpoint.safetensors")
    with joined_world() as world, target_lock(out) if world.rank == 0 else nullcontext():
        first = world.rank == 0
        see_one_folder(out, world)
        if is_done(out, "codebook", origin["fingerprint"], force=request.force):
            checkpoint.unlink(missing_ok=True)  # a kill may have come between
            _say(first, f"cluster: {out} is complete already")
            return
        state = None
        if checkpoint.exists() and not request.force:
            try:
                state, fingerprint = from_bytes(checkpoint.read_bytes())
            except UserError as error:
                raise UserError(f"{error}; --force begins anew") from None
            if fingerprint != origin["fingerprint"]:
                raise UserError(f"{checkpoint} is of an unfinished fit with other settings; --force begins anew")
        if "leak" in origin:
            _say(
                first, "cluster: warning: this fits on all folds, also on one to be tested; --test-fold I leaves it out"
            )
        _say(first, f"cluster: {request.shards} ({', '.join(places)}) -> {out}{': going on' if state else ''}")
        with clip_bar("cluster", first=first) as bar:
            shards = dataset.shards_of(*places)
            lanes = MelLanes(
                dataset,
                shards,
                lanes=kmeans.lanes,
                block_clips=kmeans.block_clips,
                seed=request.seed,
                on_block=bar.update,
            )
            nearest = partial(best_nearest, device=_gpu(world.rank))
            pairs = None
            if by_views:
                pairs = ViewPairs(by_views, dataset, places, request.recipe.views, request.seed)
                bar.set_postfix_str("comparing clips with views")
            fit = CodebookFit(lanes, mel, slices, kmeans, request.seed, world, nearest, pairs)
            if fit.covariance_bytes >= SAID_BYTES:
                _say(first, f"cluster: whitening takes three covariances of {fit.covariance_bytes / 1e9:.1f} GB each")
            entries = [dataset.shards[index] for index in shards]
            bar.total = _clips_left(fit, state, entries)
            for later in fit.checkpoints(state):
                state = later
                if state.kmeans is None or not state.kmeans.step:  # amid a reading, what is left of it is not known
                    bar.total = bar.n + _clips_left(fit, state, entries)
                bar.set_postfix_str(_stage(state))
                if first:
                    publish_bytes(checkpoint, to_bytes(state, origin["fingerprint"]))
        assert state is not None
        if first:
            codebook = fit.codebook(state, origin)
            with published_folder(out) as folder:
                codebook.save(folder)
                seal(folder, FORMAT, parents, files_below(folder))
            checkpoint.unlink(missing_ok=True)
            _say(
                first,
                f"cluster: {out}: {codebook.vocab_sizes} tokens, distortion {codebook.history[-1]['distortion']:.4f}",
            )


def _gpu(rank: int) -> int | None:
    """Return the GPU that this process searches on, or none."""
    from audio_tokens.engine.codebook.nearest.search import gpu_count

    gpus = gpu_count()
    return rank % gpus if gpus else None


def _say(first: bool, line: str) -> None:
    """Print on the first process only."""
    if first:
        say(line)


def _clips_left(fit: "CodebookFit", state: "FitCheckpoint | None", shards: "Sequence[ShardEntry]") -> int:
    """Return about how many clips this process will still read from `state` on, if k-means takes all its passes."""
    drawn, whole = fit.readings_left(state)
    clips, frames = (sum(getattr(shard, name) for shard in shards) for name in ("clips", "frames"))
    share = (
        min(1.0, fit.config.budget_vectors * fit.slices.stride / max(1, frames)) if fit.config.budget_vectors else 1.0
    )
    return round((drawn * share + whole) * clips / fit.world.size)


def _stage(state) -> str:
    """Return where a fit stands, for the progress bar."""
    stream = f"stream {len(state.streams) + (state.kmeans is not None)}"
    if state.kmeans is None or not state.kmeans.history:
        return stream
    row = state.kmeans.history[-1]
    return f"{stream}, pass {row['pass']}, distortion {row['distortion']:.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    return command(Cluster, cluster, argv)


if __name__ == "__main__":
    sys.exit(main())
