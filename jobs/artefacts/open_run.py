"""A run in hand, for every command that trains: its processes meet, its folder is begun, a stop is saved and said."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from accelerate.utils import broadcast_object_list

from audio_tokens.engine.train_config import TrainConfig
from audio_tokens.engine.training.run_context import Interrupted, RunContext
from audio_tokens.engine.world import processes, world_of
from audio_tokens.jobs.artefacts.fingerprints import digest
from audio_tokens.jobs.artefacts.hosts import see_one_folder
from audio_tokens.jobs.artefacts.outputs import claim
from audio_tokens.jobs.artefacts.run_folder import RunFolder, asked_to_stop
from audio_tokens.jobs.artefacts.tracker import tracking
from audio_tokens.jobs.display.loudness import say
from audio_tokens.jobs.display.progress import epoch_lines, step_bar
from audio_tokens.jobs.inputs.epoch_order import order_of
from audio_tokens.shards.integrity import ids_of
from audio_tokens.shards.publish import published_file


@runtime_checkable
class Asked(Protocol):
    """What a command that trains was asked for: where its run goes, its seed and tracker, what may be replaced."""

    @property
    def out(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def tracker(self) -> str: ...
    @property
    def force(self) -> bool: ...


@contextmanager
def open_run(
    command: str,
    request: Asked,
    settings: dict[str, Any],
    facts: dict[str, Any],
    config: TrainConfig,
    *,
    epochs: bool = True,
) -> Iterator[tuple[RunFolder, RunContext] | None]:
    """Yield the folder and the context of a run, or None where it is complete already, which is said.

    Runs of equal `settings` are the same run; `facts` stand beside them in config.yaml. SIGTERM saves the last state
    and exits with 143. What the request names as tokens, shards, codebook and init are the parents of the run. Without
    `epochs` there are no curves, and the tracker is left alone.
    Raises UserError as claim, see_one_folder, RunFolder.begin and `processes` do.
    """
    inputs = {role: getattr(request, role, None) for role in ("tokens", "shards", "codebook", "init")}
    claim(request.out, "run", inputs.values())
    folder = RunFolder(Path(request.out), ids_of(**inputs))
    facts = facts | {name: folder.relative(inputs[name]) for name in ("tokens", "shards")}
    with (
        processes(request.tracker, request.out) as accelerator,
        asked_to_stop() as stopping,
        folder.lock(accelerator),
        ExitStack() as ends,
    ):
        see_one_folder(folder.path / "hosts", world_of(accelerator))
        begun = [False]
        if accelerator.is_main_process:
            begun = [folder.begin({"fingerprint": digest(settings)} | settings | facts, request.force)]
        if not broadcast_object_list(begun)[0]:
            if accelerator.is_main_process:
                say(f"{command}: {request.out} is complete already")
            yield None
            return
        log = ends.enter_context(tracking(accelerator, request.tracker, folder.path)) if epochs else _unsaid
        context = RunContext(
            config=config,
            seed=request.seed,
            order=partial(order_of, config),
            accelerator=accelerator,
            folder=folder.checkpoints,
            publish=published_file,
            stopping=stopping,
            on_epoch=_both(folder.curves(log), epoch_lines(command)),
            on_end=folder.write_curves,
            say=(lambda line: say(f"{command}: {line}")) if accelerator.is_main_process else lambda line: None,
            watched=partial(step_bar, command, first=accelerator.is_main_process),
        )
        try:
            yield folder, context
        except Interrupted as stop:
            accelerator.print(f"{command}: {stop}")
            raise SystemExit(143) from None


def _unsaid(values: dict[str, float], step: int) -> None:
    """Send nothing: a system that is solved at once has no curves."""


def _both(*callbacks: Callable[..., None]) -> Callable[..., None]:
    """Return what calls all of them."""

    def call(*arguments: Any) -> None:
        for callback in callbacks:
            callback(*arguments)

    return call
