"""The pool of this machine's processes goes on where it breaks as a whole."""

from pebble.pool.base_pool import PoolStatus

from audio_tokens.shards.workers.local_pool import LocalPool, local_pool


def test_a_broken_pool_is_another_one() -> None:
    """Fault: a worker that died with the pool's own lock in its hand ended the whole command in a traceback."""
    with local_pool(1) as executor:
        assert isinstance(executor, LocalPool)
        assert executor.submit(abs, -1).result() == 1
        executor.pool._context.status = PoolStatus.ERROR  # as pebble does where its lock is not given back
        assert executor.submit(abs, -2).result() == 2
