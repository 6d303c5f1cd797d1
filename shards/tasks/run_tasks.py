"""A set of tasks on any executor: retries, suspects, progress."""

from collections.abc import Callable, Sequence
from functools import partial

from audio_tokens.shards.publish import is_full, no_room
from audio_tokens.shards.tasks.journal import in_hand, suspects
from audio_tokens.shards.tasks.task import TaskCounts, run_task
from audio_tokens.shards.tasks.task_set import TaskSet
from audio_tokens.shards.workers.retry import Call, Executor, Failure, call_all


def run_tasks(
    executor: Executor,
    tasks: TaskSet,
    todo: Sequence[Call],
    on_progress: Callable[[TaskCounts], None] = lambda counts: None,
) -> list[Failure]:
    """Run the tasks `todo` and return those that failed three times; the rest goes on.

    A call is (index, task), or (index, task, why it is given up): then what can be read of its input is kept.

    A worker's death does not count as the task's failure where the journal names a new suspect: the next attempt makes
    that clip apart.
    `on_progress` is told, twice a second, what is done so far: finished tasks and the clips behind the running ones.

    Raises UserError at once where the disk is full or the user made a mistake: no retry would help.
    """
    suspected = {index: len(suspects(tasks.journal_file(index))) for index, *_ in todo}
    finished = TaskCounts(0, 0)

    def finish(counts: TaskCounts) -> None:
        nonlocal finished
        finished += counts

    def names_a_suspect(call: Call) -> bool:
        index, *_ = call
        before, suspected[index] = suspected[index], len(suspects(tasks.journal_file(index)))
        return suspected[index] > before

    def poll(running: list[Call]) -> None:
        behind = sum(in_hand(tasks.journal_file(index)) for index, *_ in running)
        on_progress(finished + TaskCounts(behind, 0))

    try:
        return call_all(executor, partial(run_task, tasks), todo, finish, forgive=names_a_suspect, on_poll=poll)
    except OSError as error:
        if is_full(error):
            raise no_room(tasks.folder) from None
        raise
