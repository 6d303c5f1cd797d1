import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from audio_tokens.engine.codebook.soft_tokens import shares
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.encoding import TaskTokens
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.tokens.token_store import TokenStore
from tests.jobs.toy_tokens import recipe, toy_codebook, toy_shards

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Mel shards and a codebook of theirs."""
    folder = tmp_path_factory.mktemp("encode")
    shards = toy_shards(folder)
    return {"shards": shards, "codebook": toy_codebook(shards, folder / "codebook")}


@pytest.fixture(scope="module")
def tokens(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("encode") / "tokens.zarr"
    assert encode(Encode(**made, out=str(out), workers=1)) == 0
    return out


def contents(store):
    """Every file of a store, so that two can be compared byte by byte."""
    return {str(path.relative_to(store)): path.read_bytes() for path in Path(store).rglob("*") if path.is_file()}


def test_every_clip_of_the_shards_has_its_tokens(made, tokens):
    dataset, tokenizer, store = Dataset.open(made["shards"]), AudioTokenizer.from_pretrained(made["codebook"]), 0
    store = TokenStore.open(tokens)
    assert store.places == dataset.places
    met = 0
    for place in store.places:
        group = store.group(place)
        samples = [sample for index in dataset.shards_of(place) for sample in dataset.read(index)]
        assert group.keys == [sample.key for sample in samples]
        assert group.groups == [sample.meta["group"] for sample in samples]
        for index, sample in enumerate(samples):
            ids_PQ = group.ids_PQ[group.offsets[index] : group.offsets[index + 1]]
            assert np.array_equal(ids_PQ, tokenizer.encode_mel(sample.array_TF))
            labels = group.label_ids[group.label_offsets[index] : group.label_offsets[index + 1]]
            assert labels.tolist() == sample.meta["labels"]
            met += 1
    assert met == dataset.clips == sum(store.attributes["clips"].values())
    assert store.codebook_hash == tokenizer.codebook.hash


def test_several_processes_write_the_same_bytes(made, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr("audio_tokens.jobs.encode.CLIPS_PER_WORKER", 1)
    assert encode(Encode(**made, out=str(tmp_path / "tokens.zarr"), workers=2)) == 0
    assert contents(tmp_path / "tokens.zarr") == contents(tokens)


def test_straight_from_audio_the_tokens_are_the_same(made, tokens, tmp_path):
    out = tmp_path / "tokens.zarr"
    assert encode(Encode(source="soundscapes:60,clip_s=1", codebook=made["codebook"], out=str(out), workers=2)) == 0
    one, other = TokenStore.open(tokens), TokenStore.open(out)
    assert one.places == other.places
    for place in one.places:
        a, b = one.group(place), other.group(place)
        assert (a.keys, a.groups) == (b.keys, b.groups)
        assert np.array_equal(a.ids_PQ, b.ids_PQ)
        assert np.array_equal(a.label_ids, b.label_ids)


def test_clips_that_cannot_be_read_are_counted_and_listed(made, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "good.wav", np.random.default_rng(0).normal(size=22_050) * 0.1, 22_050)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    (tmp_path / "list.csv").write_text("path,labels,split\ngood.wav,a,train\nbad.wav,a,train\ngone.wav,a,train\n")
    out = tmp_path / "tokens.zarr"
    assert encode(Encode(source=f"csv:{tmp_path / 'list.csv'}", codebook=made["codebook"], out=str(out))) == 0
    store = TokenStore.open(out)
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert store.attributes["clips"] == {"train": 1}
    assert store.attributes["rejected"] == len(rejects) == 2
    assert all(reject["reason"] for reject in rejects)


def test_several_nearest_tokens_come_best_first_with_shares_that_add_up(made, tokens, tmp_path):
    out = tmp_path / "tokens.zarr"
    assert encode(Encode(**made, out=str(out), top=3, workers=1)) == 0
    group, plain = TokenStore.open(out).group("train"), TokenStore.open(tokens).group("train")
    assert np.array_equal(group.ids_PQ, plain.ids_PQ)
    assert np.array_equal(group.top_ids_PQM[..., 0], plain.ids_PQ)
    assert all(len(set(row)) == 3 for row in group.top_ids_PQM[:, 0].tolist())
    cosines = group.top_cosines_PQM.astype(int)
    assert (np.diff(cosines, axis=-1) <= 0).all()
    assert shares(group.top_cosines_PQM).sum(axis=-1) == pytest.approx(1, abs=1e-5)
    dataset, tokenizer = Dataset.open(made["shards"]), AudioTokenizer.from_pretrained(made["codebook"])
    sample = next(iter(dataset.read(dataset.shards_of("train")[0])))
    step = tokenizer.quantizer.walk([tokenizer.quantizer.prepare(sample.array_TF)])[0]
    cosine_NK = step.x_ND @ tokenizer.codebook.streams[0].centroids_KD.T
    expected_NM = np.sort(cosine_NK, axis=1)[:, ::-1][:, :3]
    stored_NM = group.top_cosines_PQM[: group.offsets[1], 0] / 127.5 - 1
    assert np.abs(stored_NM - expected_NM).max() < 1 / 255 + 1e-5


def test_what_is_complete_is_left_alone_and_what_differs_is_refused(made, tokens, capsys, tmp_path):
    assert encode(Encode(**made, out=str(tokens))) == 0
    assert "complete already" in capsys.readouterr().out
    other = toy_codebook(made["shards"], tmp_path / "other", recipe=recipe(clusters=(7,)))
    with pytest.raises(UserError, match="--force"):
        encode(Encode(shards=made["shards"], codebook=other, out=str(tokens)))
    assert TokenStore.open(tokens).vocab_sizes == (20,)


def test_mistakes_are_refused_by_name(made, tmp_path):
    out = str(tmp_path / "tokens.zarr")
    with pytest.raises(UserError, match="holds no codebook"):
        encode(Encode(shards=made["shards"], codebook=str(tmp_path / "none"), out=out))
    with pytest.raises(UserError, match="nowhere"):
        encode(Encode(shards=str(tmp_path / "nowhere"), codebook=made["codebook"], out=out))
    with pytest.raises(UserError, match="one of --shards SHARDS and --source SOURCE"):
        Encode(codebook=made["codebook"], out=out)
    with pytest.raises(UserError, match="top is 21"):
        encode(Encode(**made, out=out, top=21))


def test_a_codebook_of_another_mel_configuration_is_refused(made, tmp_path):
    other = toy_shards(tmp_path, clips=4, mel="ast16k")
    with pytest.raises(UserError, match="another mel configuration"):
        encode(Encode(shards=other, codebook=made["codebook"], out=str(tmp_path / "tokens.zarr")))


def test_an_interrupted_encoding_goes_on_where_it_was(made, tokens, tmp_path, monkeypatch, capsys):
    finish, done = TaskTokens.finish, []

    def finish_one(self):
        if done:
            raise KeyboardInterrupt
        done.append(self)
        return finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(TaskTokens, "finish", finish_one)
        with pytest.raises(KeyboardInterrupt):
            encode(Encode(**made, out=str(tmp_path / "tokens.zarr"), workers=1))
    assert not (tmp_path / "tokens.zarr").exists()
    capsys.readouterr()
    assert encode(Encode(**made, out=str(tmp_path / "tokens.zarr"), workers=1)) == 0
    assert "2 of 3 tasks to do" in capsys.readouterr().out
    assert contents(tmp_path / "tokens.zarr") == contents(tokens)
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.zarr"]


def test_a_commit_cut_short_is_made_again_and_damaged_parts_are_seen(made, tokens, tmp_path, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    job = Encode(**made, out=str(tmp_path / "tokens.zarr"), workers=1)
    with monkeypatch.context() as patch:
        patch.setattr("audio_tokens.jobs.artefacts.encoding.pack", die)
        with pytest.raises(KeyboardInterrupt):
            encode(job)
    first, second, *_ = sorted((tmp_path / ".tokens.zarr.parts").glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-1])  # done again
    whole = second.read_bytes()
    second.write_bytes(whole[:200] + bytes(100) + whole[300:])  # as long as its record says
    with pytest.raises(UserError, match=rf"{second.name} in .* is removed; the same command makes it again"):
        encode(job)
    assert encode(job) == 0
    assert contents(tmp_path / "tokens.zarr") == contents(tokens)


def test_unfinished_tokens_of_another_codebook_are_replaced_only_with_force(made, tokens, tmp_path, monkeypatch):
    other = toy_codebook(made["shards"], tmp_path / "other", recipe=recipe(clusters=(7,)))
    out = str(tmp_path / "tokens.zarr")

    def die(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TaskTokens, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            encode(Encode(shards=made["shards"], codebook=other, out=out))
    with pytest.raises(UserError, match="unfinished work of another source or configuration; --force replaces it"):
        encode(Encode(**made, out=out))
    assert encode(Encode(**made, out=out, force=True)) == 0
    assert contents(out) == contents(tokens)


@pytest.mark.long
def test_killed_at_random_moments_the_encoding_ends_in_the_same_store(made, tokens, tmp_path):
    words = [sys.executable, "-m", "audio_tokens.jobs.encode", "--out", str(tmp_path / "tokens.zarr"), "--workers", "2"]
    words += [word for name, value in made.items() for word in (f"--{name}", value)]
    rng, kills, limit_s = random.Random(1), 0, 0.3
    for _ in range(40):
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(timeout=rng.uniform(0.2, 1.0) * limit_s)
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills, limit_s = kills + 1, limit_s * 1.1
            time.sleep(0.05)
    else:
        subprocess.run(words, cwd=ROOT, check=True)
    assert kills > 0
    assert contents(tmp_path / "tokens.zarr") == contents(tokens)
