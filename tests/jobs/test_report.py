"""A report's figures are the means over all folds and seeds, computed apart; a browser finds no fault in the page."""

import csv
import html
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import average_precision_score

from audio_tokens.engine.codebook.own_level import decode_at_level_of
from audio_tokens.engine.codebook.slices import SliceConfig
from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.systems.tagging.audio_tagger import AudioTagger
from audio_tokens.jobs import cli
from audio_tokens.jobs.artefacts.report import simple_tokens
from audio_tokens.jobs.artefacts.report.order import clips_that_gain, order_pair
from audio_tokens.jobs.artefacts.report.runs import class_rows, confusion, judged, leaderboard_rows, run_groups
from audio_tokens.jobs.artefacts.report.sounds import samples_of
from audio_tokens.jobs.command import recipe_file
from audio_tokens.jobs.plain_yaml import plain_yaml
from audio_tokens.shards.dataset.manifest import Dataset

CLIPS, FOLDS, SEEDS = 24, 2, 2


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels (a low tone, a high one, noise) in two folds, two seeds, a solved and a trained system."""
    work = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    lines = ["path,labels,fold,group", "gone.wav,noise,1,gone"]
    for index in range(CLIPS):
        kind = ("low", "high", "noise")[index // FOLDS % 3]
        tone = np.sin(2 * np.pi * {"low": 400, "high": 450, "noise": 0}[kind] * np.arange(11_025) / 22_050)
        wave = 0.3 * tone + rng.uniform(-1, 1, 11_025) * (0.5 if kind == "noise" else 0.2)
        soundfile.write(work / f"{index}.wav", wave.astype(np.float32), 22_050)
        lines.append(f"{index}.wav,{kind},{index % FOLDS + 1},g{index}")
    (work / "list.csv").write_text("\n".join(lines) + "\n")
    words = f"run --source csv:{work}/list.csv --folds --systems token-bag,token-lstm --seeds 0,1 --work {work}/w"
    words += " --workers 1 --recipe.kmeans.clusters 6 --recipe.train.epochs 2"
    assert cli.main(words.split()) == 0
    return work / "w"


def figures(work: Path, system: str) -> list[dict]:
    files = sorted(work.glob(f"default-*/fold-*/{system}/result.json"))
    assert len(files) == FOLDS * SEEDS
    return [json.loads(file.read_text()) for file in files]


def test_rows_are_means_over_all_folds_and_seeds_with_intervals_around_them(work: Path) -> None:
    main, groups = run_groups(work)
    rows = leaderboard_rows(groups, main)
    assert main == "accuracy"
    assert {row.system for row in rows} == {"token-bag", "token-lstm"}
    for row in rows:
        for name in ("accuracy", "mAP"):
            assert row.figures[name] == pytest.approx(np.mean([r[name] for r in figures(work, row.system)]))
            low, high = row.intervals[name]
            assert low - 0.05 <= row.figures[name] <= high + 0.05
        assert (row.seeds, row.folds, row.clips_eval, len(row.parts)) == ([0, 1], FOLDS, CLIPS, FOLDS * SEEDS)
    assert rows[0].less is None
    value, (low, high), p = rows[1].less
    assert value == pytest.approx(rows[0].figures[main] - rows[1].figures[main])
    assert low <= value <= high
    assert 0 < p <= 1


def test_figures_of_labels_are_the_means_over_folds_computed_apart(work: Path) -> None:
    _, groups = run_groups(work)
    apart: dict[tuple[str, str], list[float]] = {}
    for file in sorted(work.glob("default-*/fold-*/*/per_class.csv")):
        with file.open(newline="") as lines:
            for row in csv.DictReader(lines):
                if row["split"].startswith("fold-") and row["ap"]:
                    apart.setdefault((file.parent.name, row["label"]), []).append(float(row["ap"]))
    rows = class_rows(groups)
    assert sorted((row.label, row.positives) for row in rows) == [("high", 8), ("low", 8), ("noise", 8)]
    for row in rows:
        for group in groups:
            found = apart[group.system, row.label]
            assert len(found) == FOLDS * SEEDS
            assert row.ap[group.name] == pytest.approx(np.mean(found), abs=1e-5)
        assert row.interval is not None


def test_confusions_count_every_tested_clip_once_and_losses_fall(work: Path) -> None:
    _, groups = run_groups(work)
    for group in groups:
        matrix = confusion(group)
        assert matrix.counts_LL.sum() == CLIPS
        right = sum(run.result["accuracy"] * run.result["clips_eval"] for run in group.first_seed)
        assert np.trace(matrix.counts_LL) == round(right)
        assert sum(times for _, _, times, _ in matrix.pairs(9)) == CLIPS - round(right)
        clips = [clip for _, clip in judged(group)]
        assert len({clip.key for clip in clips}) == CLIPS
        assert all(one.loss >= other.loss for one, other in itertools.pairwise(clips))
        for clip in clips:
            assert sum(score for _, score in clip.said) == pytest.approx(1, abs=1e-5)


def test_what_order_gives_is_the_difference_of_two_systems_and_its_evidence_that_of_the_model(work: Path) -> None:
    _, groups = run_groups(work)
    sequence, bag = order_pair(groups)
    assert (sequence.system, bag.system, sequence.recipe) == ("token-lstm", "token-bag", bag.recipe)
    for run, clip, label, of_bag in clips_that_gain(sequence, bag, class_rows(groups)):
        assert label in clip.labels
        (counted,) = [other for other in bag.first_seed if other.fold == run.fold]
        told = counted.predictions
        score = told.scores_CL[told.keys.index(clip.key), told.labels.index(label)]
        assert of_bag == pytest.approx(np.exp(score), rel=1e-5)
        assert dict(clip.said).get(label, 1.0) > of_bag  # what is not among the three highest is not told there
    tagger = AudioTagger.from_pretrained(work / "default-0" / "fold-1" / "token-lstm")
    mel_TF = np.random.default_rng(0).normal(size=(44, 64)).astype(np.float32)
    starts_W, wide, scores_VL = tagger.without_parts(mel_TF, parts=5, share=4)
    ids_PQ = tagger.tokenizer.encode_mel(mel_TF.astype(np.float16)).astype(np.int64)
    assert (len(ids_PQ), wide, starts_W[0], starts_W[-1] + wide) == (21, 5, 0, 21)
    assert scores_VL.shape == (1 + len(starts_W), 3)
    for start, scores_L in zip([None, *starts_W.tolist()], scores_VL, strict=True):
        left = ids_PQ if start is None else np.delete(ids_PQ, np.arange(start, start + wide), axis=0)
        with torch.no_grad():
            logits_L = tagger.model(torch.from_numpy(left[None]), torch.tensor([len(left)]))[0]
        np.testing.assert_allclose(scores_L, logits_L.softmax(dim=0).numpy(), rtol=1e-5)
    assert tagger.without_parts(mel_TF[:4], parts=5, share=4)[2].shape == (1, 3)


def test_mel_errors_are_told_beside_those_of_simpler_tokens_and_of_none(work: Path) -> None:
    seed = SliceConfig(**plain_yaml(recipe_file("seed").read_bytes())["slices"] | {"contexts": (1,)})
    assert seed == simple_tokens.SLICES
    rng = np.random.default_rng(0)
    frames_KF = rng.normal(size=(9, 64)).astype(np.float32)
    mels = [frames_KF[rng.integers(9, size=50)] for _ in range(4)]
    simple = simple_tokens.simple_tokenizer(mels, MelConfig())
    for mel_TF in mels:  # nine kinds of frames are nine of its fifty tokens
        np.testing.assert_allclose(
            decode_at_level_of(simple, mel_TF, simple.encode_mel(mel_TF)), mel_TF, atol=1e-3, rtol=1e-3
        )
    found = re.findall(
        r"Mel error ([\d.]+) dB; ([\d.]+) dB by tokens of single frames \(recipe seed\), ([\d.]+) dB",
        (work / "report.html").read_text(),
    )
    assert len(found) == 6
    of_codebook, _, of_none = np.array(found, float).sum(axis=0)
    assert 0 < of_codebook < of_none


def test_the_page_shows_all_parts_and_asks_nothing_of_a_network(work: Path) -> None:
    page = (work / "report.html").read_text()
    for title in (
        "Leaderboard",
        "Learning curves",
        "Labels",
        "Order",
        "Confusions",
        "Worst clips",
        "Codebook",
        "Rejects",
    ):
        assert f"<h2>{title}</h2>" in page
    assert re.findall(r"(?:src|href|data-sound)='(?!data:|#)", page) == []
    assert re.findall(r"url\(|@import|fetch\(|XMLHttp", page) == []
    assert page.count("<audio") >= 12
    assert "no sound" not in page
    (reject,) = map(json.loads, (work / "shards" / "rejects.jsonl").read_text().splitlines())
    assert f"<td class=word>{html.escape(reject['reason'])}</td>" in page
    assert len(page) < 15_000_000
    assert f"--source csv:{work.parent}/list.csv" in page
    before = page
    assert cli.main(["report", "--work", str(work)]) == 0
    assert (work / "report.html").read_text() == before


def test_sound_that_is_gone_is_said(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "w")
    manifest = tmp_path / "w" / "shards" / "dataset.json"
    manifest.write_text(manifest.read_text().replace(f"csv:{work.parent}/list.csv", f"csv:{tmp_path}/gone.csv"))
    assert cli.main(["report", "--work", f"{tmp_path}/w"]) == 0
    page = (tmp_path / "w" / "report.html").read_text()
    assert "No sound to play: the source csv:" in page
    assert "<audio" in page  # what the tokens sound like needs no source


def test_what_is_played_is_the_part_that_a_clip_is_and_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    """Two seconds of which each second is a clip: a tone, then silence; and a file that is no more there later."""
    tone_S = 0.3 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)
    soundfile.write(tmp_path / "two.wav", np.concatenate([tone_S, 0 * tone_S]), 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "gone.wav", tone_S, 22_050)
    rows = ["two.wav,tone,train,0,1", "two.wav,silence,train,1,1", "gone.wav,tone,train,0,1"]
    (tmp_path / "list.csv").write_text("\n".join(["path,labels,split,offset,duration", *rows]) + "\n")
    assert cli.main(f"build --source csv:{tmp_path}/list.csv --out {tmp_path}/shards --workers 1".split()) == 0
    dataset = Dataset.open(f"{tmp_path}/shards")
    (tmp_path / "gone.wav").unlink()
    found, note = samples_of(dataset, list(dataset.table.keys))
    played = [sample.sound for sample in found.values() if sample.sound is not None]
    assert [len(sound.wave_S) for sound in played] == [22_050, 22_050]
    assert sorted(float(np.abs(sound.wave_S).max()) for sound in played) == pytest.approx([0, 0.3], abs=1e-3)
    assert note is not None
    assert note.startswith("No sound to play for 1 of 3 clips")


WATCH = "<script>window.faults = []; addEventListener('error', (e) => faults.push(String(e.message)), true);</script>"
EXERCISE = """<script>addEventListener("load", async () => {
  const every = (kind) => [...document.querySelectorAll(kind)];
  const sorted = every("table.sorts").flatMap((table) =>
    [...table.tHead.querySelectorAll("button")].map((button, index) => {
      const values = () => [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.v ?? "");
      const column = () => values().filter((value) => value);
      button.click(); const down = column().map(Number); button.click(); return [down, column().map(Number)]; }));
  const cards = () => every(".tokens .card").map((card) => card.dataset);
  const pitches = cards().map((card) => Number(card.pitch));
  document.querySelector("[data-order=use]").click();
  const uses = cards().map((card) => Number(card.use));
  for (const part of every("details")) part.open = true;
  const stack = document.querySelector(".stack"), cursor = stack.querySelector(".cursor");
  stack.focus(); stack.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  const moved = cursor.style.left;
  const scrolls = (e) => getComputedStyle(e).overflowX === "auto" && e.scrollWidth > e.clientWidth;
  const meant = [...every("a[href], button, summary, audio, .stack"), ...every("*").filter(scrolls)];
  const unreached = meant.filter((e) => { e.focus(); return document.activeElement !== e; }).map((e) => e.outerHTML);
  const snippets = every("[data-sound]").map((button) => new Audio(button.dataset.sound));
  const loaded = await Promise.all([...every("audio"), ...snippets].map((audio) => new Promise((done) => {
    audio.addEventListener("loadedmetadata", () => done(audio.duration));
    audio.addEventListener("error", () => done(0));
    audio.preload = "metadata"; audio.load(); })));
  const wide = document.documentElement.scrollWidth - innerWidth;
  const asked = performance.getEntriesByType("resource").map((e) => e.name).filter((n) => !n.startsWith("data:"));
  const verdict = { sorted, pitches, uses, moved, unreached, loaded, wide, asked, faults, width: innerWidth };
  parent.postMessage(JSON.stringify(verdict), "*");
});</script>"""
# A frame may be as narrow as a telephone; a window of the browser may not.
FRAME = """<body><iframe src='page.html' style='width: {width}px; height: 900px; border: 0'></iframe>
<pre id=verdict></pre>
<script>addEventListener("message", (e) => {{ document.querySelector("pre").textContent = e.data; }});</script>"""


def exercise(report: Path, folder: Path, width: int) -> None:
    """Open a report in a browser: all tables sort, all sounds load, keys reach everything, nothing is too wide."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    (folder / "page.html").write_text(report.read_text().replace("<body>", f"<body>{WATCH}") + EXERCISE)
    (folder / "frame.html").write_text(FRAME.format(width=width))
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,1000"]
    words += ["--virtual-time-budget=60000", f"--user-data-dir={folder}/profile"]
    words += ["--dump-dom", f"file://{folder}/frame.html"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = re.search(r"<pre id=\"verdict\">(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    verdict = json.loads(html.unescape(found[1]))
    assert verdict["faults"] == verdict["asked"] == verdict["unreached"] == []
    assert sum(len(down) > 1 for down, _ in verdict["sorted"]) > 10
    for down, up in verdict["sorted"]:
        assert (down, up) == (sorted(up, reverse=True), sorted(up))
    assert verdict["pitches"] == sorted(verdict["pitches"])
    assert verdict["uses"] == sorted(verdict["uses"])
    assert verdict["moved"] == "5%"
    assert len(verdict["loaded"]) >= 12
    assert min(verdict["loaded"]) > 0.19
    assert (verdict["wide"] <= 0, verdict["width"]) == (True, width)


@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_finds_no_fault(work: Path, tmp_path: Path, width: int) -> None:
    exercise(work / "report.html", tmp_path, width)


@pytest.mark.long
@pytest.mark.timeout(2700)
def test_real_sound_in_five_folds(data_dir: Path, tmp_path: Path) -> None:
    words = f"run --source esc50:{data_dir}/esc10 --folds --systems token-bag,token-lstm --work {tmp_path}/esc"
    words += " --workers 1 --recipe.kmeans.clusters 100 --recipe.kmeans.passes 2 --recipe.train.epochs 3"
    assert cli.main(words.split()) == 0
    _, groups = run_groups(tmp_path / "esc")
    assert [len(group.runs) for group in groups] == [5, 5]
    for group in groups:
        ap: dict[str, list[float]] = {}
        for run in group.runs:
            with np.load(run.path / "predictions.npz") as told:
                columns = zip(told["labels"], told["scores"].T, told["targets"].T, strict=True)
                for label, scores_C, targets_C in columns:
                    ap.setdefault(str(label), []).append(average_precision_score(targets_C, scores_C))
        rows = class_rows(groups)
        assert [row.positives for row in rows] == [40] * 10
        for row in rows:
            assert row.ap[group.name] == pytest.approx(np.mean(ap[row.label]), abs=1e-6)
    (tmp_path / "narrow").mkdir()
    exercise(tmp_path / "esc" / "report.html", tmp_path / "narrow", 390)
    exercise(tmp_path / "esc" / "report.html", tmp_path, 1400)
