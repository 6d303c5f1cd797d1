"""A round: one command, one fault, and the laws that hold whatever the fault was.

While it lasts: no traceback, and an artefact under its final name is whole. Afterwards the same command ends in the
very bytes of one that nothing disturbed, and leaves nothing else.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.commands import Command, contents, foreign, is_committed, prepare
from tests.faults.events import count_changes
from tests.faults.forks import Outcome, Running, run, start

# What a stop just after the commit leaves to the next command: work that is done with, a manifest to be extended.
IN_PASSING = (".", "integrity.json")


@dataclass(frozen=True)
class Undisturbed:
    """What a command makes where nothing disturbs it, in how many seconds and changes of the file system."""

    contents: dict[str, bytes]
    seconds: float
    changes: int
    bytes: int


@dataclass(frozen=True)
class Round:
    """A folder of its own for one command and one fault."""

    command: Command
    whole: Undisturbed
    at: Path
    folder: Path
    words: str

    @property
    def said(self) -> Path:
        """Where the command's words go, outside of what it may fill or lose."""
        return self.at / "said" / self.folder.name

    def start(self, within: Callable[[], None] = lambda: None, *, more: str = "", slot: str = "") -> Running:
        """Start the command."""
        return start(f"{self.words}{more}", self.said.with_name(self.said.name + slot), within)

    def meet(self, outcome: Outcome) -> None:
        """See that a command that met a fault left nothing partial, and no traceback."""
        assert "Traceback" not in outcome.err, outcome.err[-3000:]
        assert outcome.code in (0, 1, 2, 130, 143, -2, -9, -15), outcome
        if outcome.code in (1, 2):
            assert outcome.err.strip(), outcome
        if is_committed(self.command, self.folder):
            self.see_whole(but=IN_PASSING)

    def end(self, *, more: str = "") -> None:
        """See that the same command now ends as one that nothing disturbed."""
        outcome = self.start(more=more).wait()
        assert outcome.code == 0, outcome
        assert "Traceback" not in outcome.err, outcome.err[-3000:]
        assert is_committed(self.command, self.folder), outcome
        self.see_whole()
        left = foreign(self.command, self.folder)
        assert not left, f"left behind: {left}"
        if (self.folder / self.command.out / "integrity.json").exists():
            verified = self.verify()
            assert verified.code == 0, verified.out

    def verify(self) -> Outcome:
        """Return what `audio-tokens verify` says of the artefact."""
        return run(f"verify {self.folder / self.command.out}", self.said)

    def see_whole(self, but: tuple[str, ...] = ()) -> None:
        """See that the artefact is that of a command that nothing disturbed, `but` for names that begin so."""
        found, wanted = contents(self.command, self.folder), self.whole.contents
        differ = [name for name in sorted(found | wanted) if found.get(name) != wanted.get(name)]
        differ = [name for name in differ if not but or not name.startswith(but)]
        assert not differ, f"differs in {differ[:5]}"


def undisturbed(command: Command, at: Path, folder: Path) -> Undisturbed:
    """Run a command twice: the results must be the same, and are what its rounds are held against."""
    found = []
    for number in range(2):
        with _folder(folder.with_name(f"{folder.name}-{number}")) as here:
            words = prepare(command, at, here)
            outcome = run(words, at / "said" / here.name, count_changes(here, at / "tally"))
            assert outcome.code == 0, outcome
            assert not foreign(command, here), foreign(command, here)
            sizes = sum(path.stat().st_size for path in here.rglob("*") if path.is_file())
            found.append(Undisturbed(contents(command, here), outcome.seconds, int((at / "tally").read_text()), sizes))
    assert found[0].contents == found[1].contents, "two runs of it differ"
    return found[1]


@contextmanager
def new_round(command: Command, whole: Undisturbed, at: Path, folder: Path) -> Iterator[Round]:
    """Yield a round with all that the command reads; it is removed at the end."""
    with _folder(folder) as here:
        yield Round(command, whole, at, here, prepare(command, at, here))


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
