"""The command line: order does not matter, mistakes are one line, flags and lists read as people type them."""

import os
import re
import signal
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audio_tokens import interrupts
from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.command import command, parse, recipe_file
from audio_tokens.jobs.run import Run
from audio_tokens.jobs.training_recipe import trainable


@dataclass(frozen=True, kw_only=True)
class Slices:
    stride: int = 2
    contexts: tuple[int, ...] = (4,)

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"stride {self.stride} is below 1; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    name: str = "default"
    slices: Slices = field(default_factory=Slices)


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A command for these tests.

    Args:
        out: a folder
    """

    out: str
    files: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    systems: tuple[str, ...] = ()
    force: bool = False
    recipe: Tuned = field(default_factory=Tuned)


def parsed(*words: str) -> Toy:
    return parse(Toy, words, prog="audio-tokens toy")


def test_dashes_stand_for_underscores_in_names_and_nowhere_else() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Dashed:
        test_fold: int = 0
        some_name: str = ""
        systems: dict[str, dict[str, int]] = field(default_factory=dict)

    words = ("--test-fold", "3", "--some-name=a-b")
    assert (
        parse(Dashed, words, prog="p")
        == Dashed(test_fold=3, some_name="a-b")
        == parse(Dashed, ("--test_fold=3", "--some_name", "a-b"), prog="p")
    )
    assert parse(Dashed, ("--systems.token-bag.test_fold=3",), prog="p").systems == {"token-bag": {"test_fold": 3}}


@pytest.fixture
def yaml_file(tmp_path: Path) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text("slices: {stride: 3, contexts: [4, 16]}\n")
    return str(file)


def test_dotted_overrides_win_over_yaml_from_any_place(yaml_file: str) -> None:
    before = parsed("--recipe.slices.stride", "5", "--out", "o", "--recipe", yaml_file)
    after = parsed("--recipe", yaml_file, "--out", "o", "--recipe.slices.stride=5")
    assert before == after
    assert before.recipe == Tuned(name="mine", slices=Slices(stride=5, contexts=(4, 16)))


def test_flags_and_lists_as_people_type_them() -> None:
    toy = parsed("--force", "--seeds", "0,1,2", "--systems=a,b", "--out", "o", "--recipe.slices.contexts", "4,16")
    assert (toy.force, toy.seeds, toy.systems) == (True, (0, 1, 2), ("a", "b"))
    assert toy.recipe.slices.contexts == (4, 16)
    assert parsed("--seeds", "[7]", "--out", "o", "--force", "false") == Toy(out="o", seeds=(7,))
    assert parsed("--out", "o", "--force").force


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--out", "o", "--recipe.slices.strde", "4"],
            "unknown option --recipe.slices.strde; did you mean --recipe.slices.stride?",
        ),
        (["--out", "o", "--recipe.slices.stride", "0"], "stride 0 is below 1"),
        (["--out", "o", "--recipe.slices.stride", "x"], "recipe.slices.stride"),
        (["--out", "o", "--recipe", "nope"], "recipe 'nope' is neither a file nor one of: cnn, default"),
        (["--out", "o", "--config", "nope.yaml"], "nope.yaml"),
        ([], "required: out"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        parsed(*words)
    assert command(Toy, lambda toy: None, words) == 2
    error = capsys.readouterr().err
    assert error.startswith("audio-tokens toy: error: ")
    assert error.count("\n") == 1


def test_bugs_keep_their_traceback() -> None:
    def broken(toy: Toy) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        command(Toy, broken, ["--out", "o"])


def test_a_path_that_cannot_be_used_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")

    def writing(toy: Toy) -> None:
        (Path(toy.out) / "below").mkdir(parents=True)

    assert command(Toy, writing, ["--out", f"{tmp_path}/file"]) == 2
    error = capsys.readouterr().err
    assert error == f"audio-tokens toy: error: cannot use {tmp_path}/file/below: Not a directory; choose another path\n"


def test_interruption_is_130() -> None:
    def interrupted(toy: Toy) -> None:
        raise KeyboardInterrupt

    assert command(Toy, interrupted, ["--out", "o"]) == 130


@pytest.mark.parametrize("again_s", [0.0, interrupts.AGAIN_S])  # 0: long before Python's own handling is over
def test_an_interrupt_in_a_callback_is_neither_lost_nor_printed(
    again_s: float, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints what a callback of a weak reference raises, and goes on."""
    monkeypatch.setattr(interrupts, "AGAIN_S", again_s)

    def interrupted(toy: Toy) -> None:
        gone = Toy(out="o")
        reference = weakref.ref(gone, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del gone
        time.sleep(60)
        assert reference

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests in the background ignores it
    try:
        assert command(Toy, interrupted, ["--out", "o"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Traceback" not in capfd.readouterr().err


def test_positional_words() -> None:
    assert parse(Toy, ["a.wav", "b.wav", "--out", "o"], prog="p", positional="files").files == ("a.wav", "b.wav")


def test_print_config_is_yaml_and_stops(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed("--out", "o", "--print_config")
    assert stop.value.code in (0, None)
    assert "stride: 2" in capsys.readouterr().out


def test_packaged_recipes_are_found_by_name() -> None:
    assert recipe_file("default").is_file()
    assert recipe_file("seed").is_file()


@pytest.mark.parametrize("name", ["cnn", "default", "rocket", "seed", "sound", "speech"])
def test_a_packaged_recipe_makes_a_run_of_every_system_it_sets(name: str) -> None:
    job = parse(Run, ("--source", "soundscapes:9", "--work", "w", "--recipe", name), prog="audio-tokens run")
    assert job.recipe.name == name
    assert len(job.recipe.kmeans.clusters) == len(job.recipe.slices.contexts)
    for system in job.recipe.systems:
        trainable(system).by(job.recipe)  # refuses what does not exist


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["biuld"]) == 2
    assert capsys.readouterr().err == "audio-tokens: error: unknown command 'biuld'; did you mean build?\n"


def test_every_command_is_listed_and_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"  {name}" in listed
        assert (Path(cli.__file__).parent / f"{name.replace('-', '_')}.py").is_file(), name


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_of_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code in (0, None)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"audio-tokens {name}" in shown
    assert "<class" not in shown, "a configuration's docstring was not read"
    described = shown.split("show this help message", 1)[-1]
    bare = re.findall(r"(--[\w.]+)(?: [A-Z_\[\],.]+| \{[\w,+-]+\})? \((?:required, )?type:", described)
    assert bare == []
