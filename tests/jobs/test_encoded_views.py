"""Views from sound to training: stored beside their clips, met in training, and never in a score unless asked for."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
import yaml

from audio_tokens.engine.clips.labels import Labels
from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.engine.sound.log_mel import MEL_CONFIGS, FrontEnd
from audio_tokens.engine.sound.sound_views import mixed, view
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.errors import UserError
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.jobs.cross_validate import CrossValidate, cross_validate
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.inputs.front_end import ClipToViews
from audio_tokens.jobs.inputs.training_data import open_data
from audio_tokens.jobs.recipe import Recipe
from audio_tokens.jobs.train import Train, train
from audio_tokens.seeds import generator
from audio_tokens.shards.sources.registry import open_source
from audio_tokens.shards.tokens.token_store import VIEWS, TokenStore
from tests.jobs.toy_tokens import RECIPE, toy_codebook, toy_shards

CLIPS, COUNT = 40, 3
SOURCE = f"soundscapes:{CLIPS},clip_s=1"


@pytest.fixture(scope="module")
def codebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    return toy_codebook(toy_shards(folder, clips=CLIPS), folder / "codebook")


def encoded(codebook, out, **views):
    assert encode(Encode(source=SOURCE, codebook=codebook, out=str(out), workers=1, views=ViewConfig(**views))) == 0
    return TokenStore.open(out)


@pytest.fixture(scope="module")
def store(codebook, tmp_path_factory):
    return encoded(codebook, tmp_path_factory.mktemp("views") / "tokens.zarr", count=COUNT, mix=0.5)


def test_every_view_is_the_tokens_of_the_sound_it_names(codebook, store):
    """The slow way: each clip's wave, each view drawn by itself, tokens by the tokenizer."""
    tokenizer, config, source = (
        AudioTokenizer.from_pretrained(codebook),
        ViewConfig(count=COUNT, mix=0.5),
        open_source(SOURCE),
    )
    seen, before = dict.fromkeys(store.places, 0), {}
    groups = {place: (store.group(place), store.group(place + VIEWS)) for place in store.places}
    mixes = 0
    for task in source.tasks():
        before.clear()
        for clip in source.clips(task):
            own, views = groups[clip.place]
            assert own.keys[seen[clip.place]] == clip.key
            for number in range(COUNT):
                row = seen[clip.place] * COUNT + number
                rng, wave_S, shares = (
                    generator(0, f"view {clip.key}", number),
                    clip.wave_S,
                    dict.fromkeys(clip.labels, 1.0),
                )
                if rng.random() < config.mix and clip.place in before:
                    other, share = before[clip.place], rng.uniform(0.5, 1)
                    wave_S = mixed(wave_S, clip.rate_hz, other.wave_S, other.rate_hz, share)
                    shares = {
                        label: share * (label in clip.labels) + (1 - share) * (label in other.labels)
                        for label in {*clip.labels, *other.labels}
                    }
                    mixes += 1
                expected_PQ = tokenizer.encode(*view(wave_S, clip.rate_hz, config, rng))
                assert views.keys[row] == clip.key
                assert np.array_equal(views.ids_PQ[views.offsets[row] : views.offsets[row + 1]], expected_PQ)
                labels = slice(views.label_offsets[row], views.label_offsets[row + 1])
                found = {
                    source.labels[i]: s
                    for i, s in zip(views.label_ids[labels], views.label_shares[labels], strict=True)
                }
                assert found == pytest.approx(shares)
            seen[clip.place] += 1
            before[clip.place] = clip
    assert sum(seen.values()) == CLIPS
    assert mixes > CLIPS / 2


def test_the_clips_themselves_are_as_without_views_and_any_number_of_workers_gives_the_same_bytes(
    codebook, store, tmp_path
):
    plain = encoded(codebook, tmp_path / "plain.zarr")
    assert plain.views == 0
    for place in store.places:
        assert np.array_equal(plain.group(place).ids_PQ, store.group(place).ids_PQ)
        assert plain.group(place).keys == store.group(place).keys
    assert store.attributes["clips"] == plain.attributes["clips"]
    out = tmp_path / "two.zarr"
    job = Encode(source=SOURCE, codebook=codebook, out=str(out), workers=2, views=ViewConfig(count=COUNT, mix=0.5))
    assert encode(job) == 0
    files = [sorted(path for path in folder.rglob("*") if path.is_file()) for folder in (out, store.path)]
    assert [path.relative_to(out) for path in files[0]] == [path.relative_to(store.path) for path in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))


def test_another_seed_or_other_extents_are_other_tokens_and_ask_for_force(codebook, store):
    job = {"source": SOURCE, "codebook": codebook, "out": str(store.path), "views": ViewConfig(count=COUNT, mix=0.5)}
    assert encode(Encode(**job)) == 0  # complete already
    for change in ({"seed": 1}, {"views": ViewConfig(count=COUNT)}, {"views": ViewConfig()}):
        with pytest.raises(UserError, match="other settings"):
            encode(Encode(**job | change))


def test_views_are_made_from_sound(codebook):
    with pytest.raises(UserError, match="made from sound"):
        Encode(shards="s", codebook=codebook, out="o", views=ViewConfig(count=1))


def test_a_clip_too_short_to_be_sped_up_stands_for_its_own_view(tmp_path, codebook, capsys):
    samples = 513  # of 22.05 kHz: the least a frame needs
    soundfile.write(tmp_path / "short.wav", np.random.default_rng(0).normal(size=samples) * 0.1, 22_050)
    (tmp_path / "list.csv").write_text("path,labels,split\nshort.wav,a,train\n")
    out = tmp_path / "tokens.zarr"
    job = Encode(
        source=f"csv:{tmp_path / 'list.csv'}", codebook=codebook, out=str(out), workers=1, views=ViewConfig(count=8)
    )
    assert encode(job) == 0
    store = TokenStore.open(out)
    own, views = store.group("train"), store.group("train" + VIEWS)
    assert len(views) == 8 * len(own) == 8
    short = sum(np.array_equal(views.ids_PQ[row], own.ids_PQ[0]) for row in range(8))
    assert short >= 1
    said = int(capsys.readouterr().out.split("encode: ")[2].split()[0])
    assert 1 <= said <= short


def test_a_view_depends_on_its_clip_and_the_one_before_and_on_nothing_heard_otherwise():
    """As after a death: the next attempt makes one clip in a process of its own, and goes on without its wave."""
    clips = [clip for clip in open_source(SOURCE).clips(open_source(SOURCE).tasks()[0]) if clip.place == "train"][:4]
    config = ViewConfig(count=COUNT, mix=1.0)
    one_by_one = ClipToViews(FrontEnd(MEL_CONFIGS["mel22k"]), config, 0)
    in_turn = [one_by_one(clip, before) for clip, before in zip(clips, [None, *clips], strict=False)]
    for position, (clip, before) in enumerate(zip(clips, [None, *clips], strict=False)):
        stranger = pickle.loads(pickle.dumps(one_by_one))
        stranger(clips[position - 2], None)  # heard another clip of the same place
        for ours, theirs in zip(stranger(clip, before), in_turn[position], strict=True):
            assert np.array_equal(ours.mel_TF, theirs.mel_TF)
            assert ours.shares == theirs.shares


def test_training_meets_every_version_and_scoring_only_the_clip(store):
    data = open_data(str(store.path), None)
    clips, _ = data.read(("train",))
    own, *views = clips.versions()
    group = store.group("train" + VIEWS)
    for number, version in enumerate(views):
        for clip in range(len(clips)):
            row = clip * COUNT + number
            ids_PQ = group.ids_PQ[group.offsets[row] : group.offsets[row + 1]]
            batch = version.batch(np.array([clip]))
            assert np.array_equal(batch.input[0].numpy(), ids_PQ)
            assert batch.targets.sum() == pytest.approx(
                group.label_shares[group.label_offsets[row] : group.label_offsets[row + 1]].sum(), abs=1e-6
            )
    everyone = np.arange(len(clips))
    assert torch.equal(own.batch(everyone).input, clips.batch(everyone).input)
    met = np.zeros((len(clips), 1 + COUNT), bool)
    for epoch in range(60):
        drawn = clips.drawn(generator(0, "views", epoch))
        for number, version in enumerate((own, *views)):
            same = drawn.at_C == version.at_C
            met[same, number] = True
            for clip in np.flatnonzero(same)[:3]:
                assert np.array_equal(drawn.labels.targets(np.array([clip])), version.labels.targets(np.array([clip])))
    assert met.all()


def test_selecting_and_narrowing_reach_the_views(store):
    clips, _ = open_data(str(store.path), None).read(("train",))
    some = np.array([5, 2, 9])
    chosen = [3, 0]
    for version, small in zip(clips.versions(), clips.select(some).narrowed(chosen).versions(), strict=True):
        assert np.array_equal(small.at_C, version.at_C[some])
        assert np.array_equal(small.labels.targets(np.arange(3)), version.labels.targets(some)[:, chosen])


@pytest.mark.parametrize("system", ["token-bag", "token-linear"])
def test_scores_are_means_over_versions_where_asked(system, store, tmp_path):
    runs = {}
    for name, options in {"clip": {}, "all": {"score_views": True}}.items():
        recipe = Recipe(train={"epochs": 2, **options})
        train(Train(tokens=str(store.path), system=system, out=str(tmp_path / name), recipe=recipe))
        runs[name] = RunFolder(tmp_path / name)
    from audio_tokens.engine.systems.registry import load

    model, clips = load(tmp_path / "all" / "model"), open_data(str(store.path), None).read(("test",))[0]
    with torch.no_grad():
        versions = [
            model(batch.input, batch.lengths_B)
            for version in clips.versions()
            for batch in [version.batch(np.arange(len(clips)))]
        ]
    expected = {"clip": versions[0], "all": torch.stack(versions).mean(dim=0)}
    same_weights = load(tmp_path / "clip" / "model").state_dict()
    if all(torch.equal(same_weights[key], value) for key, value in model.state_dict().items()):
        np.testing.assert_allclose(runs["clip"].predictions().scores_CL, expected["clip"], atol=1e-5)
    np.testing.assert_allclose(runs["all"].predictions().scores_CL, expected["all"], atol=1e-5)
    assert not np.allclose(expected["clip"], expected["all"], atol=1e-3)


def test_the_bag_of_versions_is_that_of_as_many_clips_of_a_share_each(store):
    """The slow way: every version as a clip of its own, the loss of each counted 1 / versions times."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    from audio_tokens.engine.systems.tagger import TaggerConfig
    from audio_tokens.engine.systems.token_bag import TokenBag, logistic_regression

    clips, _ = open_data(str(store.path), None).read(("train",))
    versions, everyone = clips.versions(), np.arange(len(clips))
    config = TaggerConfig(system="token-bag", vocab_sizes=clips.rows.vocab_sizes, id2label={0: "a"})
    batches = [version.batch(everyone) for version in versions]
    parts = [TokenBag(config).contents(batch.input, batch.lengths_B).double().numpy() for batch in batches]
    x_CK = sparse.csr_array(np.concatenate(parts))
    label = int(clips.labels.counts().argmax())
    y_CL = np.concatenate([version.labels.targets(everyone)[:, [label]] for version in versions])
    weights_KL, bias_L, _ = logistic_regression(x_CK, y_CL, 10.0 / len(versions), single_label=False)
    exact = LogisticRegression(C=10.0, tol=1e-10, max_iter=10_000)
    # a soft target is so much of a positive and the rest of a negative
    rows, weights = np.concatenate([x_CK.toarray()] * 2), np.concatenate([y_CL[:, 0], 1 - y_CL[:, 0]]) / len(versions)
    truth = np.repeat([1, 0], len(y_CL))
    exact.fit(rows, truth, sample_weight=weights)
    np.testing.assert_allclose(weights_KL[:, 0], exact.coef_[0], atol=5e-3)
    np.testing.assert_allclose(bias_L[0], exact.intercept_[0], atol=5e-3)


def test_a_recipe_with_views_runs_over_folds(tmp_path, data_dir):
    import csv

    rows = list(csv.DictReader((data_dir / "esc10/meta/esc50.csv").open()))
    rows = [row for fold in "12" for row in [row for row in rows if row["fold"] == fold][:12]]
    lines = [f"{data_dir}/esc10/audio/{row['filename']},{row['category']},{row['fold']}" for row in rows]
    (tmp_path / "list.csv").write_text("\n".join(["path,labels,fold", *lines]) + "\n")
    from audio_tokens.jobs.build import Build, build

    source = f"csv:{tmp_path / 'list.csv'}"
    build(Build(source=source, out=str(tmp_path / "shards"), workers=1))
    recipe = Recipe(
        name="viewed",
        slices=replace(RECIPE.slices, whiten_by="views", whiten_variance=1.0),
        kmeans=RECIPE.kmeans,
        views=ViewConfig(count=2),
        train={"score_views": True},
    )
    cross_validate(
        CrossValidate(shards=str(tmp_path / "shards"), system="token-bag", work=str(tmp_path / "w"), recipe=recipe)
    )
    for run in (tmp_path / "w").glob("viewed-0/fold-*/token-bag"):
        assert yaml.safe_load((run / "config.yaml").read_text())["train"]["score_views"] is True
        assert "scored as the mean of itself and its views" in (run / "model" / "README.md").read_text()
        assert json.loads((run / "result.json").read_text())["clips_eval"] > 0
    assert TokenStore.open(next((tmp_path / "w").glob("viewed-0/fold-*/tokens.zarr"))).views == 2
    codebook = Codebook.load(next((tmp_path / "w").glob("viewed-0/fold-*/codebook")))
    assert codebook.slices.whiten_by == "views"
    assert (codebook.origin["views"]["count"], codebook.origin["views"]["roll"]) == (1, False)


def test_labels_without_shares_count_one_each():
    labels = Labels(ids=np.array([2, 0]), starts_C=np.array([0, 1]), lengths_C=np.array([1, 1]), count=3)
    assert labels.targets(np.array([1, 0])).tolist() == [[1, 0, 0], [0, 0, 1]]
