"""A trained model on sound: AudioTagger, predict, transformers' pipeline and evaluate agree on the same clips."""

import csv
import json
import runpy
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audio_tokens import AudioTagger
from audio_tokens.engine.sound.decode import resample
from audio_tokens.engine.systems.registry import SYSTEMS
from audio_tokens.errors import ClipError, UserError
from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.model_card import evaluation_id
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.registry import open_source

TOKENS, MEL, SHORT = "--tokens WORK/tokens.zarr", "--shards WORK/shards", "--options.epochs 1"
BERT = f"{SHORT} --options.layers 1 --options.width 12 --options.heads 3"
SYSTEM_WORDS = {
    "token-bag": TOKENS,
    "token-rocket": f"{TOKENS} --options.kernels 20",
    "token-pairs": f"{TOKENS} --codebook WORK/book --options.groups 5",
    "token-linear": f"{TOKENS} {SHORT}",
    "token-lstm": f"{TOKENS} {SHORT}",
    "token-bert": f"{TOKENS} {BERT} --options.positions rotary --options.conv 3",
    "hybrid-bert": f"{TOKENS} {MEL} {BERT}",
    "raw-linear": f"{MEL} {SHORT}",
    "raw-cnn": f"{MEL} {SHORT} --options.channels 2",
    "raw-bert": f"{MEL} {BERT}",
    "raw-ast": f"{MEL} {BERT}",
}
RUNS = [*SYSTEM_WORDS, "soft-bag", "voting-lstm"]


def made(work: Path, clips: int) -> Path:
    """Train every system on so many one-second clips, and write those that are tested as files."""
    source_name = f"soundscapes:{clips},clip_s=1"
    lines = [
        f"build --source {source_name} --out {work}/shards --workers 1",
        f"cluster --shards {work}/shards --out {work}/book --recipe.kmeans.clusters 8,8 --recipe.slices.contexts 4,8",
        f"encode --shards {work}/shards --codebook {work}/book --out {work}/tokens.zarr --workers 1",
        f"encode --shards {work}/shards --codebook {work}/book --out {work}/soft.zarr --workers 1 --top 2",
        f"train --system token-lstm --out {work}/voting-lstm --tokens {work}/tokens.zarr {SHORT} --options.bag true",
        f"train --system token-bag --out {work}/soft-bag --tokens {work}/soft.zarr --options.soft true",
    ]
    for system, words in SYSTEM_WORDS.items():
        lines.append(f"train --system {system} --out {work}/{system} {words.replace('WORK', str(work))}")
    for line in lines:
        assert cli.main(line.split()) == 0, line
    source = open_source(source_name)
    (work / "sounds").mkdir()
    for task in source.tasks():
        for clip in source.clips(task) if task.work[0] == "test" else ():
            soundfile.write(work / "sounds" / f"{clip.key}.wav", clip.wave_S, clip.rate_hz, subtype="FLOAT")
    return work


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("predict"), 40)


def test_every_system_is_among_them() -> None:
    assert set(SYSTEM_WORDS) == set(SYSTEMS)


def probabilities(run: Path) -> dict[str, dict[str, float]]:
    """What `train` wrote of the tested clips, {key: {label: probability}}; `evaluate` scores the same way."""
    found = RunFolder(run).predictions()
    scores_CL = 1 / (1 + np.exp(-found.scores_CL.astype(np.float64)))
    return {key: dict(zip(found.labels, row, strict=True)) for key, row in zip(found.keys, scores_CL, strict=True)}


def as_dict(rows: list[dict]) -> dict[str, float]:
    return {row["label"]: row["score"] for row in rows}


@pytest.mark.parametrize("name", RUNS)
def test_all_ways_to_tag_a_clip_agree(name: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agree(name, work, capsys)


@pytest.mark.long
def test_all_ways_agree_on_a_hundred_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = made(tmp_path, 1000)
    assert len(list((work / "sounds").iterdir())) >= 100
    for name in RUNS:
        agree(name, work, capsys)


def agree(name: str, work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """See that AudioTagger, predict, transformers' pipeline and evaluate say the same of the tested clips."""
    from transformers import pipeline

    wanted = probabilities(work / name)
    files = sorted((work / "sounds").iterdir())
    assert {file.stem for file in files} == set(wanted)
    tagger = AudioTagger.from_pretrained(work / name)
    capsys.readouterr()
    assert cli.main(["predict", "--run", f"{work}/{name}/model", "--top", "16", "--json", f"{work}/sounds"]) == 0
    entries = json.loads(capsys.readouterr().out)
    transformers_way = pipeline("audio-classification", model=f"{work}/{name}/model", top_k=16, device="cpu")
    for file, rows, entry in zip(files, tagger(files), entries, strict=True):
        wave_S, rate_hz = soundfile.read(file, dtype="float32")
        assert entry["file"] == str(file)
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        ways = {
            "path": rows,
            "bytes": tagger(file.read_bytes()),
            "array": tagger((wave_S, rate_hz)),
            "predict": entry["labels"],
            "pipeline": transformers_way(resample(wave_S, rate_hz, tagger.mel.rate_hz)),
        }
        for way, found in ways.items():
            assert as_dict(found) == pytest.approx(wanted[file.stem], abs=1e-5), way
    assert cli.main(["evaluate", "--run", f"{work}/{name}", "--split", "test", "--replicates", "1"]) == 0
    again = json.loads((work / name / "evaluation-test.json").read_text())
    assert again["mAP"] == pytest.approx(RunFolder(work / name).result()["mAP"], abs=1e-9)


@pytest.mark.parametrize("name", RUNS)
def test_a_model_folder_needs_nothing_beside_it(name: str, work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / name / "model", tmp_path / "elsewhere")
    file = next((work / "sounds").iterdir())
    assert AudioTagger.from_pretrained(tmp_path / "elsewhere")(file) == AudioTagger.from_pretrained(work / name)(file)
    config = json.loads((tmp_path / "elsewhere" / "config.json").read_text())
    assert {str(index): label for label, index in config["label2id"].items()} == config["id2label"]


def test_a_long_sound_is_the_mean_of_its_windows_and_silence_and_short_ones_are_defined(work: Path) -> None:
    tagger = AudioTagger.from_pretrained(work / "token-lstm")
    (file, *_) = sorted((work / "sounds").iterdir())
    wave_S, rate_hz = soundfile.read(file, dtype="float32")
    long_S = np.concatenate([wave_S, np.zeros_like(wave_S), wave_S[::-1]])
    (tagging,) = tagger.all([(long_S, rate_hz)])
    starts = [round(start * tagger.mel.rate_hz) for start in tagging.starts_s_W]
    assert len(starts) >= 5
    own_S = resample(long_S, rate_hz, tagger.mel.rate_hz)
    parts = [(own_S[start : start + tagger.window_samples], tagger.mel.rate_hz) for start in starts]
    each = [as_dict(rows) for rows in tagger(parts)]
    mean = {label: np.mean([scores[label] for scores in each]) for label in tagger.labels}
    assert as_dict(tagger((long_S, rate_hz))) == pytest.approx(mean, abs=1e-5)
    silence = tagger((np.zeros(44_100, np.float32), 44_100))
    assert as_dict(silence) == pytest.approx(as_dict(tagger((np.zeros(22_050, np.float32), 22_050))), abs=1e-6)
    with pytest.raises(ClipError, match="too short: 100 samples"):
        tagger((np.zeros(100, np.float32), 22_050))


def test_an_embedding_a_clip_whose_last_layer_gives_the_scores(work: Path) -> None:
    tagger = AudioTagger.from_pretrained(work / "token-lstm")
    files = sorted((work / "sounds").iterdir())
    x_CD, head = tagger.embed(files), tagger.model.head
    assert x_CD.shape == (len(files), head.in_features)
    logits_CL = x_CD @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    for row, found in zip(1 / (1 + np.exp(-logits_CL)), tagger(files), strict=True):
        assert as_dict(found) == pytest.approx(dict(zip(tagger.labels, row, strict=True)), abs=1e-5)


def test_an_embedding_is_of_what_reads_order_not_of_the_bag_that_votes_beside_it(work: Path) -> None:
    tagger = AudioTagger.from_pretrained(work / "voting-lstm")
    (file, *_) = sorted((work / "sounds").iterdir())
    assert tagger.embed([file]).shape == (1, tagger.model.head.in_features)


def test_files_that_cannot_be_read_are_a_line_each_and_all_others_are_answered(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, *_ = sorted((work / "sounds").iterdir())
    (tmp_path / "text.wav").write_text("not sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "z.flac", np.zeros((48_000, 2)), 48_000)
    words = ["predict", "--run", f"{work}/token-bag", str(good), str(tmp_path), f"{tmp_path}/gone.wav", "--top", "3"]
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [str(good), f"{tmp_path}/z.flac"]
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [
        f"{tmp_path}/empty.wav", f"{tmp_path}/text.wav", f"{tmp_path}/gone.wav"
    ]  # fmt: skip
    assert cli.main([*words, "--json"]) == 1
    entries = json.loads(capsys.readouterr().out)
    assert ["labels" in entry for entry in entries] == [True, False, False, True, False]
    assert cli.main([*words[:3], str(good), "--csv", "--timeline", f"{tmp_path}/lines"]) == 0
    table = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in table] == [row["label"] for row in entries[0]["labels"]] + [
        row["label"] for row in table[3:]
    ]
    timeline, picture = sorted((tmp_path / "lines").iterdir())
    with timeline.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row[table[0]["label"]]) == pytest.approx(float(table[0]["score"]), abs=1e-5)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_mistakes_are_one_line(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["--run", str(tmp_path), "a.wav"], "holds no model"),
        (["--run", f"{work}/token-bag", str(tmp_path)], "holds no sound file"),
        (["--run", f"{work}/token-bag", "gone.wav"], "there is no file 'gone.wav'"),
        (["--run", f"{work}/token-bag", "a.wav", "--top", "0"], "must be at least 1"),
        (["--run", f"{work}/token-bag", "a.wav", "--json", "--csv"], "choose one"),
    ):
        assert cli.main(["predict", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    shutil.copytree(work / "token-bag" / "model", tmp_path / "old", ignore=shutil.ignore_patterns("front_end.json"))
    with pytest.raises(UserError, match=r"lacks front_end\.json"):
        AudioTagger.from_pretrained(tmp_path / "old")


def test_the_card_says_what_was_tested_on_what(work: Path) -> None:
    card = (work / "token-bag" / "model" / "README.md").read_text()
    keys = RunFolder(work / "token-bag").predictions().keys
    assert evaluation_id(keys) in card
    assert evaluation_id(keys) == Dataset.open(work / "shards").manifest["test_ids"]["sha256"]
    mAP = json.loads((work / "token-bag" / "result.json").read_text())["mAP"]
    assert f"| mAP | {100 * mAP:.2f} % | " in card


def in_a_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_importing_the_package_is_light() -> None:
    heavy = "{'numpy', 'torch', 'transformers'}"
    assert in_a_process(f"import sys, audio_tokens; print({heavy} & set(sys.modules))") == "set()"


def test_a_system_that_is_not_built_of_transformers_never_imports_it(work: Path, tmp_path: Path) -> None:
    """10 s of imports, as torch's compiler and what else is of no use to it."""
    unused = ["transformers", "torch._dynamo", "torchaudio", "sklearn", "pandas", "matplotlib", "tensorboard", "faiss"]
    lines = [
        "import sys",
        "from audio_tokens.jobs import cli",
        f"assert cli.main('train --system token-bag --tokens {work}/tokens.zarr --out {tmp_path}/bag'.split()) == 0",
        f"assert cli.main('evaluate --run {tmp_path}/bag --split test --replicates 2'.split()) == 0",
        f"assert cli.main(['predict', '--run', '{tmp_path}/bag', '{next((work / 'sounds').iterdir())}']) == 0",
        f"print([name for name in {unused} if name in sys.modules])",
    ]
    assert in_a_process("\n".join(lines)).splitlines()[-1] == "[]"
    assert not (tmp_path / "bag" / "audio-tokens").exists()  # a tracker's, who has no epoch to draw


def test_the_shipped_file_has_the_classes_that_the_configuration_names(work: Path) -> None:
    """What transformers does with trust_remote_code=True: import that file, take a class by its name."""
    folder = work / "token-lstm" / "model"
    named = json.loads((folder / "config.json").read_text())["auto_map"]
    for auto_class, name in named.items():
        file, _, of_it = name.partition(".")
        classes = runpy.run_path(str(folder / f"{file}.py"))
        assert classes[of_it].__name__ in ("AudioTokensConfig", "AudioTokensForAudioClassification"), auto_class
    model = classes[of_it].from_pretrained(folder)
    (file, *_) = sorted((work / "sounds").iterdir())
    wave_S, rate_hz = soundfile.read(file, dtype="float32")
    own_S = resample(wave_S, rate_hz, model.tagger.mel.rate_hz)
    logits_L = model(torch.from_numpy(own_S)[None]).logits[0]
    wanted = as_dict(AudioTagger.from_pretrained(folder)(file))
    found = dict(zip(wanted_labels(model), logits_L.sigmoid().tolist(), strict=True))
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.long
def test_transformers_alone_loads_a_model_with_trust_remote_code(work: Path) -> None:
    lines = [
        "from transformers import pipeline",
        f"tag = pipeline('audio-classification', model='{work}/token-bag/model', trust_remote_code=True)",
        "print(type(tag.model).__name__)",
    ]
    assert in_a_process("\n".join(lines)).splitlines()[-1] == "AudioTokensForAudioClassification"


def wanted_labels(model: Any) -> list[str]:
    return [model.config.id2label[index] for index in range(len(model.config.id2label))]


def test_transformers_that_was_imported_first_knows_the_models_too(work: Path) -> None:
    lines = [
        "from transformers import AutoModelForAudioClassification",
        "import audio_tokens",
        f"print(AutoModelForAudioClassification.from_pretrained('{work}/token-bag/model').config.system)",
    ]
    assert in_a_process("\n".join(lines)) == "token-bag"
