"""The build's task engine without its command: what `audio_tokens.jobs.build` sets up, in a process of the caller's."""

from dataclasses import dataclass
from pathlib import Path

from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.jobs.inputs.front_end import ClipToMel
from audio_tokens.shards.sources.registry import Task, open_source
from audio_tokens.shards.tasks.commit import commit
from audio_tokens.shards.tasks.run_tasks import run_tasks
from audio_tokens.shards.tasks.shard_maker import ShardMaker
from audio_tokens.shards.tasks.task_folder import prepare
from audio_tokens.shards.tasks.task_set import TaskSet, fingerprint
from audio_tokens.shards.tasks.task_shards import ShardConfig
from audio_tokens.shards.workers.retry import Executor
from audio_tokens.shards.workers.this_process import ThisProcess


@dataclass(frozen=True)
class TaskEngine:
    task_set: TaskSet
    tasks: list[Task]

    def run(self, executor: Executor | None = None) -> None:
        """Do all tasks, here or on `executor`, and commit."""
        listed = list(enumerate(self.tasks))
        assert not prepare(self.task_set, listed, force=False)
        assert run_tasks(executor or ThisProcess(), self.task_set, listed) == []
        assert commit(self.task_set, range(len(self.tasks)))


def task_engine(listed: Path, folder: Path) -> TaskEngine:
    """Return the engine that builds the clips of a CSV list into `folder`."""
    source = open_source(f"csv:{listed}")
    to_mel = ClipToMel(FrontEnd(MEL_CONFIGS["mel22k"]))
    tasks, settings = source.tasks(), "benchmark"
    task_set = TaskSet(
        folder=folder,
        source=source,
        maker=ShardMaker(to_mel=to_mel, config=ShardConfig(), about={}, producer={}),
        clip_timeout_s=60.0,
        settings=settings,
        fingerprint=fingerprint(settings, tasks),
    )
    return TaskEngine(task_set, tasks)
