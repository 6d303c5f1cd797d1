"""The build's task engine without its command: what `audio_tokens.jobs.build` sets up, in a process of the caller's."""

from dataclasses import dataclass
from pathlib import Path

from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.jobs.inputs.front_end import ClipToMel
from audio_tokens.shards.sources.registry import Task, open_source
from audio_tokens.shards.tasks.build_folder import prepare
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.run_tasks import run_tasks
from audio_tokens.shards.tasks.task import Job, fingerprint, run_task, settings_digest
from audio_tokens.shards.tasks.task_shards import ShardConfig
from audio_tokens.shards.workers.retry import Executor


@dataclass(frozen=True)
class TaskEngine:
    job: Job
    tasks: list[Task]

    def run(self, executor: Executor | None = None) -> None:
        """Do all tasks, here or on `executor`, and commit."""
        assert not prepare(self.job, enumerate(self.tasks), force=False)
        if executor:
            assert run_tasks(executor, self.job, list(enumerate(self.tasks))) == []
        else:
            for index, task in enumerate(self.tasks):
                run_task(self.job, index, task)
        assert commit(self.job, range(len(self.tasks)), about={}, producer={})


def task_engine(listed: Path, folder: Path) -> TaskEngine:
    """Return the engine that builds the clips of a CSV list into `folder`."""
    source, config = open_source(f"csv:{listed}"), ShardConfig()
    tasks, settings = source.tasks(), settings_digest({}, config, source.labels)
    job = Job(
        folder=folder,
        source=source,
        transform=ClipToMel(FrontEnd(MEL_CONFIGS["mel22k"])),
        config=config,
        clip_timeout_s=60.0,
        settings=settings,
        fingerprint=fingerprint(settings, tasks),
    )
    return TaskEngine(job, tasks)
