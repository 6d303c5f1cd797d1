"""Processes on several hosts that make one artefact: refused at the start where they do not see one folder.

Only the first writes; the others read its checkpoints, and would go on from nothing where they do not see them.
"""

import socket
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from audio_tokens.engine.world import World
from audio_tokens.shards.publish import not_seen, seen_by_others

TEXT_BYTES = 1024


def see_one_folder(path: Path, world: World) -> None:
    """Let all processes look for a file that the first leaves beside `path`.

    Raises UserError on every one of them, naming host and folder, where one does not see it.
    """
    if world.size == 1:
        return
    folder, host = path.parent.resolve(), socket.gethostname()
    with seen_by_others(path) if world.rank == 0 else nullcontext() as mark:
        name, *_ = _texts(world, mark.name if mark is not None else "")  # whoever knows it may look for it
        hosts = _texts(world, host)
        blind = _texts(world, "" if (folder / name).exists() else str(folder))
    for there, where in zip(hosts, blind, strict=True):
        if where:
            raise not_seen(there, where, hosts[0])


def _texts(world: World, text: str) -> list[str]:
    """Return what each process says, the end of it where it is long."""
    data = text.encode()[-TEXT_BYTES:]
    text_B = np.zeros(TEXT_BYTES, np.uint8)
    text_B[: len(data)] = np.frombuffer(data, np.uint8)
    return [row_B.tobytes().rstrip(b"\0").decode(errors="ignore") for row_B in world.gather(text_B)]
