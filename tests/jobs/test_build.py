"""The build command, as a user runs it: any garbage is accounted for, and kills at any moment leave no trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_tokens.jobs import cli
from audio_tokens.shards.dataset.manifest import Dataset
from tests.shards.tasks.kills import command, kill_many
from tests.shards.tasks.toy_build import contents

RATE_HZ = 8000


def write_clips(folder: Path, clips: int) -> str:
    """Write `clips` short waves and their list in folds; return the source."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,labels,fold"]
    for number in range(clips):
        soundfile.write(folder / f"{number}.wav", rng.uniform(-0.3, 0.3, 4000), RATE_HZ)
        lines.append(f"{number}.wav,l{number % 3},{number % 2 + 1}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return f"csv:{folder}/list.csv"


def garbage(folder: Path) -> dict[str, str]:
    """Write clips that nobody can use; return a word of the reason for each."""
    rng = np.random.default_rng(0)
    wave_S = rng.uniform(-0.3, 0.3, 3 * RATE_HZ).astype(np.float32)
    soundfile.write(folder / "nan.wav", np.full(800, np.nan, np.float32), RATE_HZ, subtype="FLOAT")
    soundfile.write(folder / "zero.wav", wave_S[:0], RATE_HZ)
    for name, ending in (("flac", "flac"), ("ogg", "ogg"), ("wav", "wav")):
        soundfile.write(folder / f"whole.{ending}", wave_S, RATE_HZ)
        whole = (folder / f"whole.{ending}").read_bytes()
        (folder / f"cut-{name}.{ending}").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is no sound")
    (folder / "folder.wav").mkdir()
    return {
        "nan.wav": "not finite",
        "zero.wav": "no samples",
        "cut-flac.flac": "",
        "cut-ogg.ogg": "cut off",
        "cut-wav.wav": "cut off",
        "empty.wav": "empty",
        "text.wav": "cannot be decoded",
        "folder.wav": "is a directory",
        "missing.wav": "no such file",
    }


def test_whatever_is_listed_is_written_or_rejected_with_its_reason(tmp_path: Path) -> None:
    write_clips(tmp_path / "in", 10)
    reasons = garbage(tmp_path / "in")
    with (tmp_path / "in" / "list.csv").open("a") as file:
        file.writelines(f"{name},l0,{number % 3}\n" for number, name in enumerate(reasons))
        file.write("./3.wav,l0,2\n")  # listed twice
    for out, workers in (("a", 1), ("b", 2)):
        words = f"build --source csv:{tmp_path}/in/list.csv --out {tmp_path}/{out} --workers {workers}"
        assert cli.main(words.split()) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    rejects = list(map(json.loads, (tmp_path / "a" / "rejects.jsonl").read_text().splitlines()))
    found = {reject["id"]: reject["reason"] for reject in rejects}
    assert set(found) == {*reasons, "3.wav"}
    for name, words in reasons.items():
        assert words in found[name], (name, found[name])
    dataset = Dataset.open(tmp_path / "a")
    assert (dataset.clips, len(rejects)) == (10, 10)
    assert cli.main(["verify", str(tmp_path / "a")]) == 0
    assert cli.main(["describe", str(tmp_path / "a"), "--pictures", str(tmp_path / "a.png")]) == 0


def test_a_pipe_costs_itself_and_is_not_waited_for(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", 4)
    os.mkfifo(tmp_path / "in" / "pipe.wav")
    with (tmp_path / "in" / "list.csv").open("a") as file:
        file.write("pipe.wav,l0,1\n")
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1", "--clip-timeout-s", "2"]
    assert cli.main(words) == 0
    assert Dataset.open(tmp_path / "s").clips == 4
    (reject,) = map(json.loads, (tmp_path / "s" / "rejects.jsonl").read_text().splitlines())
    assert reject == {"id": "pipe.wav", "reason": "not a regular file: a device, a pipe or a socket"}


def test_mel_in_the_shards_is_the_front_ends(data_dir: Path, tmp_path: Path) -> None:
    from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd

    words = f"build --source esc50:{data_dir}/esc10 --out {tmp_path}/s --limit-clips 6 --mel ast16k --workers 1"
    assert cli.main(words.split()) == 0
    dataset = Dataset.open(tmp_path / "s")
    assert dataset.producer == {"mel": MEL_CONFIGS["ast16k"].to_dict()}
    (shard,) = range(len(dataset.shards))
    samples = list(dataset.read(shard))
    assert len(samples) == 6
    for sample in samples:
        audio = (data_dir / "esc10" / "audio" / sample.meta["id"]).read_bytes()
        mel_TF, seconds = FrontEnd(MEL_CONFIGS["ast16k"])(audio)
        assert (sample.array_TF == mel_TF.astype(np.float16)).all()
        assert sample.meta["seconds"] == pytest.approx(seconds, abs=1e-6)


def test_a_finished_build_is_skipped_and_another_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_clips(tmp_path / "in", 4)
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]
    assert cli.main(words) == 0
    before = contents(tmp_path / "s")
    capsys.readouterr()
    assert cli.main(words) == 0
    assert "complete already" in capsys.readouterr().out
    assert cli.main([*words, "--dtype", "uint8"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert contents(tmp_path / "s") == before
    shard = next((tmp_path / "s").glob("*.tar"))
    shard.write_bytes(bytes(shard.stat().st_size))  # what a disk has damaged is made again when asked for
    assert cli.main([*words, "--force"]) == 0
    assert contents(tmp_path / "s") == before
    assert cli.main([*words, "--dtype", "uint8", "--zstd", "--force"]) == 0
    assert Dataset.open(tmp_path / "s").sample(0, 0).array_TF.dtype == np.float32
    assert cli.main(["verify", str(tmp_path / "s")]) == 0


def test_a_job_array_of_three_writes_the_bytes_of_one(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", 300)
    words = ["build", "--source", source, "--workers", "1"]
    assert cli.main([*words, "--out", str(tmp_path / "one")]) == 0
    parts = [*words, "--out", str(tmp_path / "three"), "--task-count", "3"]
    for index in (2, 0):
        assert cli.main([*parts, "--task-index", str(index)]) == 0
        assert not (tmp_path / "three" / "dataset.json").exists()
    assert cli.main([*parts, "--task-index", "1"]) == 0
    assert contents(tmp_path / "three") == contents(tmp_path / "one")


def test_a_build_killed_in_its_work_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", 600)
    words = command("build", "--source", source, "--workers", "1", "--out")
    subprocess.run([*words, str(tmp_path / "undisturbed")], check=True, capture_output=True)
    kill_many([*words, str(tmp_path / "killed")], tmp_path / "killed", 128, kills=1, most_clips=250, seed=1)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


@pytest.mark.long
def test_twenty_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    source = write_clips(tmp_path / "in", 6000)
    words = command("build", "--source", source, "--workers", "2", "--out")
    subprocess.run([*words, str(tmp_path / "undisturbed")], check=True, capture_output=True)
    kill_many([*words, str(tmp_path / "killed")], tmp_path / "killed", 128, kills=20, most_clips=200, seed=2)
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_front_end_of_ones_own_is_part_of_the_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_clips(tmp_path / "in", 4)
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]
    (tmp_path / "mine.yaml").write_text("{bands: 40, scale: slaney}\n")
    assert cli.main([*words, "--mel", str(tmp_path / "mine.yaml")]) == 0
    dataset = Dataset.open(tmp_path / "s")
    assert (dataset.producer["mel"]["bands"], dataset.producer["mel"]["scale"]) == (40, "slaney")
    assert dataset.sample(0, 0).array_TF.shape[1] == 40
    (tmp_path / "mine.yaml").write_text("{bands: 41, scale: slaney}\n")
    capsys.readouterr()
    assert cli.main([*words, "--mel", str(tmp_path / "mine.yaml")]) == 2
    assert "--force" in capsys.readouterr().err
    (tmp_path / "mine.yaml").write_text("{band: 41}\n")
    assert cli.main([*words, "--mel", str(tmp_path / "mine.yaml")]) == 2
    assert "band" in capsys.readouterr().err


def test_a_dry_run_builds_nothing_and_says_what_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_clips(tmp_path / "in", 300)
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "4"]
    assert cli.main([*words, "--dry-run", "--limit-clips", "20"]) == 0
    said = capsys.readouterr().out
    assert "4 tasks, 300 clips; 20 measured, 0 of them rejected" in said
    for words_said in ("clips/s a worker: read", "binds", "GB of shards", "hours on 4 workers"):
        assert words_said in said
    assert not (tmp_path / "s").exists()


WORKER_IMPORTS = """
import sys
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.jobs.inputs.front_end import ClipToMel
from audio_tokens.shards.workers.local_pool import local_pool
import audio_tokens.shards.tasks.task, audio_tokens.shards.tasks.shard_maker
import audio_tokens.shards.sources.csv_list, audio_tokens.shards.sources.esc50

def loaded(transform):
    import numpy as np
    from audio_tokens.shards.sources.clip import Clip
    wave_S = np.random.default_rng(0).uniform(-.1, .1, 48000).astype(np.float32)
    transform(Clip(key="k", labels=(), place="train", group="", source_id="", wave_S=wave_S, rate_hz=48000))
    return sorted(sys.modules)

if __name__ == "__main__":
    with local_pool(1) as executor:
        names = executor.submit(loaded, ClipToMel(FrontEnd(MEL_CONFIGS["mel22k"]))).result()
    assert "soxr" in names, "the worker did no work"
    print([name for name in ("torch", "torchaudio", "faiss", "zarr", "sklearn", "transformers") if name in names])
"""


def test_a_worker_on_the_default_front_end_does_not_import_torch(tmp_path: Path) -> None:
    script = tmp_path / "ask_a_worker.py"
    script.write_text(WORKER_IMPORTS)
    asked = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(Path.cwd())}
    )
    assert asked.stdout.strip() == "[]"


def test_how_long_a_clip_may_be_is_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_clips(tmp_path / "in", 4)
    soundfile.write(tmp_path / "in" / "0.wav", np.full(3 * RATE_HZ, 0.1), RATE_HZ)
    words = ["build", "--source", source, "--out", str(tmp_path / "s"), "--workers", "1"]
    assert cli.main([*words, "--longest-clip-s", "2"]) == 0
    (reject,) = map(json.loads, (tmp_path / "s" / "rejects.jsonl").read_text().splitlines())
    assert reject["id"] == "0.wav"
    assert "promises 3 s of sound; one clip may have at most 2 s" in reject["reason"]
    capsys.readouterr()
    assert cli.main(words) == 2  # it decides what is built
    assert "--force" in capsys.readouterr().err
    assert cli.main([*words, "--longest-clip-s", "0"]) == 2
    assert "longest_clip_s is 0.0; it must be from 1 to 604800" in capsys.readouterr().err
