"""The tasks of a build on any executor: retries, suspects, progress."""

from collections.abc import Callable, Sequence
from functools import partial

from audio_tokens.shards.publish import is_full, no_room
from audio_tokens.shards.sources.registry import Task
from audio_tokens.shards.tasks.journal import in_hand, suspects
from audio_tokens.shards.tasks.task import Job, TaskCounts, run_task
from audio_tokens.shards.workers.retry import Call, Executor, Failure, call_all


def run_tasks(
    executor: Executor,
    job: Job,
    tasks: Sequence[tuple[int, Task]],
    on_progress: Callable[[TaskCounts], None] = lambda counts: None,
) -> list[Failure]:
    """Run `tasks` (index, task) and return those that failed three times; the rest goes on.

    A worker's death is not the task's failure where the journal names a new suspect: the clip then pays, next time.
    `on_progress` is told, twice a second, what is done so far: finished tasks and the clips behind the running ones.

    Raises UserError at once where the disk is full or the user made a mistake: no retry would help.
    """
    suspected = {index: len(suspects(job.journal_file(index))) for index, _ in tasks}
    finished = TaskCounts(0, 0)

    def finish(counts: TaskCounts) -> None:
        nonlocal finished
        finished += counts

    def names_a_suspect(call: Call) -> bool:
        index, _ = call
        before, suspected[index] = suspected[index], len(suspects(job.journal_file(index)))
        return suspected[index] > before

    def poll(running: list[Call]) -> None:
        behind = sum(in_hand(job.journal_file(index)) for index, _ in running)
        on_progress(finished + TaskCounts(behind, 0))

    try:
        return call_all(executor, partial(run_task, job), tasks, finish, forgive=names_a_suspect, on_poll=poll)
    except OSError as error:
        if is_full(error):
            raise no_room(job.folder) from None
        raise
