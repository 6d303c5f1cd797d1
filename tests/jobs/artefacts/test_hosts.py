"""Processes that make one artefact together see one folder, or each of them says which host does not."""

import socket
from pathlib import Path

import pytest

from audio_tokens.engine.world import World
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.hosts import see_one_folder
from tests.engine.codebook.toy_fit import in_worlds


def test_who_sees_one_folder_goes_on_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    out = tmp_path / ("long" * 60)
    in_worlds(3, lambda world: see_one_folder(out, world))
    see_one_folder(tmp_path / "not there" / "out", World())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blind", [1, 2])
def test_all_are_told_who_sees_another_folder(blind: int, tmp_path: Path) -> None:
    def folder(world: World) -> Path:
        return tmp_path / ("theirs" if world.rank == blind else "ours") / "out"

    def told(world: World) -> str:
        with pytest.raises(UserError) as error:
            see_one_folder(folder(world), world)
        return str(error.value)

    said = in_worlds(3, told)
    here = socket.gethostname()
    assert len(set(said)) == 1
    assert said[0].startswith(f"{here} does not see in {tmp_path}/theirs what {here} writes; all hosts that")
    assert [list(path.iterdir()) for path in tmp_path.iterdir()] == [[]]
