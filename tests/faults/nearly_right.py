"""A folder with one of every file that is opened, for the fuzzer to spoil: what `lay_out` fills."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile

from audio_tokens.engine.codebook.codebook_file import Codebook
from audio_tokens.engine.codebook.fit_checkpoint import to_bytes
from audio_tokens.engine.codebook.fit_codebook import FitCheckpoint
from audio_tokens.engine.codebook.kmeans.problem import KMeansState
from audio_tokens.shards.tasks.task import run_task
from audio_tokens.shards.tasks.task_folder import prepare
from tests.shards.sources.audio_sets import DOG, RAIN, Listed, write_parquet, write_tars
from tests.shards.tasks.toy_build import listed, toy_tasks

RECIPE = """
slices: {normalise: mean-std, contexts: [4, 16], stride: 2, whiten_variance: 0.99}
kmeans: {clusters: [500, 200], metric: cosine, passes: 20}
train: {epochs: 30, learning_rate: 0.001}
systems: {token-bert: {width: 64, dropout: 0.1}, token-bag: {}}
top: 3
"""
GRID = """
name: grid
systems: [token-bag]
seeds: [0, 1]
base: {kmeans: {clusters: [50]}}
axes: {k: {k50: {}, k100: {kmeans: {clusters: [100]}}}, context: {c4: {slices: {contexts: [4]}}}}
"""
MEL = "kind: stft\nrate_hz: 16000\nhigh_hz: 8000.0\nbands: 32\nhop_samples: 256\ntop_db: 80.0\n"
CSV = (
    "path,labels,split,group,offset,duration\n"
    "a.wav,dog;cat,train,g1,0,1.5\nb/c.flac,cat,test,g2,,\nd.wav,dog,val,g3,1,\n"
)
LHOTSE = {
    "id": "c",
    "start": 0,
    "duration": 2,
    "channel": 0,
    "recording": {"duration": 2, "sources": [{"type": "file", "source": "c.wav"}]},
    "supervisions": [{"text": "cat", "custom": {}}],
    "custom": {"split": "val"},
}
JSONL = (
    '{"audio_filepath": "a.wav", "offset": 0.5, "duration": 1.5, "label": "dog", "split": "train"}\n'
    '{"audio_filepath": "b.wav", "label": ["dog", "cat"], "split": "test"}\n' + json.dumps(LHOTSE) + "\n"
)
TEXTS = {
    "recipe.yaml": RECIPE,
    "grid.yaml": GRID,
    "mel.yaml": MEL,
    "list.csv": CSV,
    "list.jsonl": JSONL,
    "labels.csv": "index,mid,display_name\n0,/m/1,dog\n1,/m/2,cat\n2,/m/3,a bird\n",
    "subset.keys": "a b\nc-1\n",
    "addresses.txt": "# shards\nx/00.tar\nx/01.tar\nhttps://host/02.tar\n",
}
SOUNDS = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}


def lay_out(artefacts: Path, folder: Path) -> None:
    """Copy the artefacts (see artefacts.py) into a folder whose files may be spoilt, and put the other files there."""
    for name in ("shards", "codebook", "tokens.zarr", "bag", "lstm", "body"):
        shutil.copytree(artefacts / name, folder / name)
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    (folder / "list.jsonl.gz").write_bytes(gzip.compress(JSONL.encode()))
    shutil.copytree(artefacts / "lstm" / "model", folder / "model")
    _work(folder)
    _fit(folder)
    _build(folder / "build")
    _sounds(folder / "sounds")
    _sources(folder)


def _work(folder: Path) -> None:
    """Put runs where a report looks for them."""
    for name in ("bag", "lstm"):
        shutil.copytree(folder / name, folder / "work" / "default-0" / name)
    (folder / "work" / "shards").mkdir()
    lines = [json.dumps({"id": f"clip {number}", "reason": "empty file"}) for number in range(3)]
    (folder / "work" / "shards" / "rejects.jsonl").write_text("\n".join(lines) + "\n")


def _fit(folder: Path) -> None:
    """Write the checkpoint of a codebook that is being fitted."""
    codebook = Codebook.load(folder / "codebook")
    (stream,) = codebook.streams
    clusters = len(stream.centroids_KD)
    kmeans = KMeansState(
        stage="passes",
        epoch=1,
        step=2,
        means_KD=stream.centroids_KD.astype(np.float64),
        counts_K=np.ones(clusters, np.int64),
        recent_K=np.ones(clusters, np.int64),
        history=codebook.history,
    )
    state = FitCheckpoint(
        streams=codebook.streams,
        history=codebook.history,
        offset_F=codebook.offset_F,
        scale=codebook.scale,
        whitening=stream.whitening,
        kmeans=kmeans,
    )
    (folder / "fit.safetensors").write_bytes(to_bytes(state, "0" * 64))


def _build(folder: Path) -> None:
    """Leave a build that was stopped before its commit."""
    tasks = toy_tasks(folder)
    prepare(tasks, listed(tasks), force=False)
    for index, task in listed(tasks):
        run_task(tasks, index, task)


def _sounds(folder: Path) -> None:
    """Write a quarter of a second in each container that is looked into."""
    import av

    folder.mkdir()
    rate_hz = 16_000
    wave_S = np.random.default_rng(0).uniform(-0.3, 0.3, rate_hz // 4).astype(np.float32)
    for ending, subtype in SOUNDS.items():
        soundfile.write(folder / f"a.{ending}", wave_S, rate_hz, subtype=subtype, format=ending.upper())
    for ending in ("m4a", "mka"):
        with av.open(folder / f"a.{ending}", "w") as container:
            stream = container.add_stream("aac", rate=rate_hz, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave_S[None], format="fltp", layout="mono")
            frame.sample_rate = rate_hz
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)


def _sources(folder: Path) -> None:
    """Write AudioSet in both layouts, a hub's parquet, and webdataset tars, plain and compressed."""
    parts = ("bal_train", "unbal_train", "eval")
    clips = [Listed(f"v{number:010d}", parts[number % 3], (DOG, RAIN), b"sound" * 20) for number in range(9)]
    write_parquet(folder / "audioset-parquet", clips)
    write_tars(folder / "audioset-tars", clips)
    rows = [{"bytes": b"sound" * 20, "path": f"{number}.wav"} for number in range(5)]
    feature = {"info": {"features": {"label": {"names": ["dog", "cat"], "_type": "ClassLabel"}}}}
    audio = pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"audio": audio, "label": pa.array([0, 1, 0, 1, 0])})
    (folder / "hf").mkdir()
    pyarrow.parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(feature)}), folder / "hf" / "train-0.parquet"
    )
    for name, mode in (("wds/plain.tar", "w"), ("wds-gz/packed.tar.gz", "w:gz")):
        (folder / name).parent.mkdir()
        with tarfile.open(folder / name, mode) as tar:  # type: ignore[call-overload]
            for number in range(3):
                about = {"id": f"id{number}", "label": ["Dog"], "label_id": [67]}
                for ending, data in (("json", json.dumps(about).encode()), ("flac", b"sound" * 20)):
                    member = tarfile.TarInfo(f"{number}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
