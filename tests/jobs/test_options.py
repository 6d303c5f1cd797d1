"""Options one can see: a command's help lists what it reads and no more; what does not exist is refused by name."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from audio_tokens.engine.systems.options import PretrainOptions, RawCnnOptions, TokenBertOptions, TokenLstmOptions
from audio_tokens.engine.systems.registry import SYSTEMS
from audio_tokens.errors import UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.cluster import Cluster
from audio_tokens.jobs.command import option_types, parse
from audio_tokens.jobs.pretrain import Pretrain
from audio_tokens.jobs.recipe import Recipe
from audio_tokens.jobs.run import PIPELINE_SYSTEMS, Run
from audio_tokens.jobs.train import Train
from audio_tokens.jobs.training_recipe import PARTS, PRETRAINABLE, TrainingRecipe, trainable


def help_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main([*words.split(), "--help"])
    assert stop.value.code in (0, None)
    return " ".join(capsys.readouterr().out.split())


def reading(system: str) -> list[str]:
    given = {"tokens": ["--tokens", "T"], "mel": ["--shards", "S"]}
    return ["--system", system, "--out", "o", *(word for name in SYSTEMS[system].reads for word in given[name])]


def trained(system: str, *words: str) -> Train:
    return parse(Train, [*reading(system), *words], prog="audio-tokens train", options=trainable)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_systems_help_lists_its_options_each_with_type_and_default(
    system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = help_of(f"train --system {system}", capsys).split("--options CONFIG Path", 1)[1]
    defaults = SYSTEMS[system].options()
    for field in fields(defaults):
        listed = f"--options.{field.name} " in shown
        assert listed == (field.name in SYSTEMS[system].option_names), field.name
        if listed:
            described = shown.split(f"--options.{field.name} ", 1)[1].split(" --options.")[0]
            value = getattr(defaults, field.name)
            assert "(type: " in described, field.name
            assert isinstance(value, str) or f"default: {value}" in described, field.name
    assert ("--options.soft " in shown) == ("tokens" in SYSTEMS[system].reads)
    assert "Annotated" not in shown
    if system == "token-lstm":
        assert "dimensions each way (type: int, 1 or more, default: 96)" in shown


@pytest.mark.parametrize("system", SYSTEMS)
def test_another_systems_option_is_refused_with_the_nearest(system: str) -> None:
    others = {name for other in SYSTEMS.values() for name in other.option_names}
    for name in sorted(others - set(SYSTEMS[system].option_names))[::4]:
        with pytest.raises(UserError, match=rf"unknown option --options\.{name}; (did you mean|known:) --options\.\w+"):
            trained(system, f"--options.{name}", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--options.epoch 3", "unknown option --options.epoch; did you mean --options.epochs?"),
        ("--options.epochs 2.5", "options.epochs is 2.5; it must be a whole number"),
        ("--options.epochs -1", "epochs is -1; it must be 1 or more"),
        ("--options.learning_rate fast", "options.learning_rate is fast; it must be a finite number"),
        ("--options.learning_rate nan", "learning_rate is nan; it must be a"),
        ("--options.learning_rate .inf", "learning_rate is inf; it must be above 0"),
        ("--options.pooling last", "options.pooling is last; it must be one of first, mean, max, mean-max, attention"),
        ("--recipe.train.epoch 3", "unknown option recipe.train.epoch; did you mean epochs?"),
        ("--recipe.train.epochs x", "recipe.train.epochs is x; it must be a whole number"),
        ("--recipe.systems.token-lstm.heads 3", "unknown option recipe.systems.token-lstm.heads; known: inner_share"),
        ("--recipe.systems.raw-cnn.soft true", "unknown option recipe.systems.raw-cnn.soft; "),
        ("--recipe.systems.token-lstn.width 3", "unknown system 'token-lstn'; did you mean token-lstm?"),
        ("--recipe.slices.stride 3", "unknown option --recipe.slices.stride; "),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option_the_value_and_the_rule(words: str, message: str) -> None:
    with pytest.raises(UserError) as mistake:
        trained("token-lstm", *words.split())
    assert message in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize(
    ("lags", "message"),
    [
        ("[0]", "lags is 0; it must be 1 or more"),
        ("[1,y]", "lags is y; it must be a whole number"),
    ],
)
@pytest.mark.parametrize("where", ["--options.lags", "--recipe.systems.token-pairs.lags"])
def test_an_option_that_is_a_list_is_taken_and_each_of_its_entries_checked(where: str, lags: str, message: str) -> None:
    assert trained("token-pairs", where, "[2,5]").options.lags == (2, 5)
    with pytest.raises(UserError) as mistake:
        trained("token-pairs", where, lags)
    assert message in str(mistake.value)


def test_the_line_wins_over_a_systems_part_of_the_recipe_and_that_over_the_part_for_all(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "slices: {stride: 3}\n"
        "train: {epochs: 4, learning_rate: 1e-2, soft: true}\n"
        "systems: {token-lstm: {epochs: 5, width: 8}, raw-cnn: {channels: 4}}\n"
    )
    words = ["--recipe", str(recipe)]
    expected = TokenLstmOptions(epochs=5, width=8, learning_rate=1e-2, soft=True)
    assert (
        trained("token-lstm", *words).options
        == expected
        == trainable("token-lstm").by(trained("token-lstm", *words).recipe)
    )
    assert trained("token-lstm", "--options.epochs", "6", *words, "--options.width=16").options == TokenLstmOptions(
        epochs=6, width=16, learning_rate=1e-2, soft=True
    )
    assert trained(
        "token-lstm", *words, "--recipe.train.epochs", "9", "--recipe.systems.token-lstm.width", "9"
    ).options == (TokenLstmOptions(epochs=5, width=9, learning_rate=1e-2, soft=True))
    assert trained("raw-cnn", *words).options == RawCnnOptions(epochs=4, learning_rate=1e-2, channels=4)
    assert trained("token-bag", *words).options == SYSTEMS["token-bag"].options(soft=True), "no steps, no epochs"
    pretrain = parse(Pretrain, ["--tokens", "T", "--out", "o", *words], prog="p", options=lambda _: PRETRAINABLE)
    assert pretrain.options == PretrainOptions(epochs=4, learning_rate=1e-2)


def test_a_recipes_file_may_hold_parts_that_a_command_does_not_read_but_none_that_nobody_knows(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("slices: {stride: 3}\ntop: 4\nsystems: {token-lstm: {width: 8}}\n")
    cluster = parse(Cluster, ["--shards", "S", "--out", "o", "--recipe", str(recipe)], prog="p")
    assert (cluster.recipe.name, cluster.recipe.slices.stride) == ("mine", 3)
    run = parse(Run, ["--source", "s", "--work", "w", "--recipe", str(recipe)], prog="p")
    assert (run.recipe.top, run.recipe.slices.stride, run.recipe.systems) == (4, 3, {"token-lstm": {"width": 8}})
    recipe.write_text("slice: {stride: 3}\n")
    with pytest.raises(UserError, match=r"has the unknown part 'slice'; did you mean slices\?"):
        parse(Cluster, ["--shards", "S", "--out", "o", "--recipe", str(recipe)], prog="p")
    recipe.write_text("slices: {strde: 3}\n")
    with pytest.raises(UserError, match=r"strde.*did you mean --recipe\.slices\.stride\?"):
        parse(Cluster, ["--shards", "S", "--out", "o", "--recipe", str(recipe)], prog="p")
    recipe.write_text("systems: {token-lstm: {widht: 8}}\n")
    with pytest.raises(UserError, match=r"recipe\.systems\.token-lstm\.widht; did you mean width\?"):
        parse(Run, ["--source", "s", "--work", "w", "--recipe", str(recipe)], prog="p")


def test_each_command_offers_the_parts_of_a_recipe_that_it_reads() -> None:
    assert {field.name for field in fields(Recipe)} == set(PARTS)
    offered = {
        command: {name.split(".")[1] for name in option_types(command) if name.startswith("--recipe.")}
        for command in (Cluster, Train, Pretrain, Run)
    }
    assert offered == {
        Cluster: {"name", "slices", "kmeans", "views"},
        Train: {"name", "train", "systems"},
        Pretrain: {"name", "train", "systems"},
        Run: set(PARTS),
    }


def test_pretraining_offers_nothing_about_labels(capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of("pretrain", capsys)
    assert "--options.layers " in shown
    for name in ("loss", "label_smoothing", "mix", "soft", "patience", "pooling"):
        assert f"--options.{name} " not in shown


def test_a_configuration_that_is_printed_makes_the_same_options_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*reading("token-bert"), "--recipe.train.epochs", "3", "--options.width", "16"]
    with pytest.raises(SystemExit):
        parse(Train, [*words, "--print_config"], prog="p", options=trainable)
    (tmp_path / "train.yaml").write_text(capsys.readouterr().out)
    again = parse(Train, ["--config", str(tmp_path / "train.yaml")], prog="p", options=trainable)
    assert again.options == TokenBertOptions(epochs=3, width=16)


def test_packaged_recipes_are_sound_for_every_system() -> None:
    for name in ("default", "seed", "cnn", "rocket"):
        run = parse(Run, ["--source", "s", "--work", "w", "--recipe", name], prog="p")
        assert [trainable(system).by(run.recipe) for system in PIPELINE_SYSTEMS]
    assert TrainingRecipe(systems={"token-bag": {"C": 10}}).systems == {"token-bag": {"C": 10.0}}


def test_what_needs_no_data_is_refused_before_anything_heavy_is_imported() -> None:
    """Help and mistakes of every kind, in one process: none of them may import torch or open a file."""
    code = """
import sys
from audio_tokens.jobs import cli

def answered(words):
    try:
        return cli.main(words.split())
    except SystemExit as stop:
        return stop.code or 0

train = "train --tokens absent.zarr --out r"
assert answered("train --system raw-ast --help") == 0
assert answered("pretrain --help") == 0
for words in ("--system token-bart", "--system token-bag --options.epochs 2", "--system token-lstm --options.width 0",
              "--system token-bert --options.heads 5", "--system raw-cnn", "--system token-bag --shards s",
              "--system token-bag --recipe.train.epoch 3"):
    assert answered(f"{train} {words}") == 2, words
for words in ("train --tokens absent.zarr --out r --system token-bag", "evaluate --run absent --split test",
              "predict --run absent a.wav", "describe absent", "pretrain --tokens absent.zarr --out r",
              "cluster --shards absent --out c", "build --source soundscape:4 --out s"):
    assert answered(words) == 2, words
heavy = {"torch", "transformers", "accelerate", "faiss", "sklearn", "scipy", "zarr", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert len(errors) == 14
    assert "unknown option --options.epochs; known: --options.inner_share" in errors[1]
