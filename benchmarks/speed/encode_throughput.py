"""From mel shards to tokens.zarr on one core, and the packing of the store by itself.

Expected before measuring, default recipe, k=500: encoding reaches 85 to 95 % of reading plus assigning (slices,
whitening, search) measured by themselves: what is left is the part files, the store and the start of the job. Packing
writes ids at 120 to 250 MB/s, zstd and all (the floor, .npy and fsync, at the disk's rate), and reads them back at 500
and more by zarr and by tensorstore. P positions, Q token streams.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from audio_tokens.engine.codebook.kmeans.config import KMeansConfig
from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
from audio_tokens.jobs.cluster import Cluster, cluster
from audio_tokens.jobs.encode import Encode, encode
from audio_tokens.jobs.recipe import Recipe
from audio_tokens.seeds import generator
from audio_tokens.shards.tokens.token_parts import TokenClip, pack, write_part
from audio_tokens.shards.tokens.token_store import TokenStore
from benchmarks.harness import FLOOR, Report, silent
from benchmarks.inputs.mel_shards import soundscape_shards

CLUSTERS, POSITIONS = 500, 215
PARTS = ("part: read", "part: assign")


def bench(report: Report) -> None:
    dataset = soundscape_shards(report.folder / "shards", clips=200 if report.quick else 1_600, clip_s=10)
    codebook = str(report.folder / "codebook")
    recipe = Recipe(kmeans=KMeansConfig(batch_epochs=0, passes=1))
    with silent():
        cluster(Cluster(shards=dataset.location, out=codebook, recipe=recipe))
    tokenizer = AudioTokenizer.from_pretrained(codebook)
    mels = [sample.array_TF.copy() for shard in range(len(dataset.shards)) for sample in dataset.read(shard)]
    stores = (str(report.folder / f"tokens-{number}.zarr") for number in count())

    def read() -> int:
        return sum(
            len(sample.array_TF.copy()) for shard in range(len(dataset.shards)) for sample in dataset.read(shard)
        )

    def ours() -> None:
        with silent():
            assert encode(Encode(shards=dataset.location, codebook=codebook, out=next(stores), workers=1)) == 0

    contenders = {
        "encode": ours,
        "part: read": read,
        "part: assign": lambda: list(map(tokenizer.encode_mel, mels)),
    }
    race = report.race("mel shards to tokens", contenders, work=len(mels), unit="clips", rounds=5, round_s=0)
    share = sum(race.ratio(part, "encode") for part in PARTS)
    report.bar("speed as a share of reading plus assigning", share, at_least=0.8)
    _store(report)


def _store(report: Report) -> None:
    """Pack and read what fills 100 MB: random tokens, as skewed and as repetitive as real ones; 1000 clips a part."""
    import tensorstore
    import zarr

    parts = [report.folder / "parts" / f"{number:06d}.npz" for number in range(10 if report.quick else 230)]
    for number, path in enumerate(parts):
        write_part(path, _clips(number))
    positions = sum(int(np.load(path)["offsets"].sum()) for path in parts)
    megabytes = 2 * positions / 1e6
    kept, stores = report.folder / "kept.zarr", (report.folder / f"packed-{number}.zarr" for number in count())
    attributes = {"codebook": "", "dataset": "", "vocab_sizes": [500], "labels": ["a"], "origin": {}, "fingerprint": ""}
    pack(kept, {"train": parts}, attributes)
    ids_PQ = TokenStore.open(kept).group("train").ids_PQ

    def npy() -> None:
        with (report.folder / "floor.npy").open("wb") as file:
            np.save(file, ids_PQ)
            file.flush()
            os.fsync(file.fileno())

    contenders = {
        "pack": lambda: pack(next(stores), {"train": parts}, attributes),
        FLOOR + ".npy and fsync": npy,
    }
    race = report.race("writing the store", contenders, work=megabytes, unit="MB of ids", rounds=5, round_s=0)
    report.bar("MB/s written", megabytes / race.median_s("pack"), at_least=80)

    def by_tensorstore() -> np.ndarray:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(kept / "train" / "ids")}}
        return np.asarray(tensorstore.open(spec).result().read().result())

    readers = {
        "zarr": lambda: np.asarray(zarr.open_group(kept, mode="r")["train/ids"]),
        "tensorstore": by_tensorstore,
        FLOOR + "np.load": lambda: np.load(report.folder / "floor.npy"),
    }
    report.race("reading it", readers, work=megabytes, unit="MB of ids", rounds=5)
    stored = sum(file.stat().st_size for file in Path(kept).rglob("*") if file.is_file())
    report.figures("the store", bytes_a_position=stored / positions)
    equal = all(np.array_equal(readers[name](), ids_PQ) for name in ("zarr", "tensorstore"))
    report.bar("read alike by zarr and tensorstore", float(equal), at_least=1)


def _clips(part: int) -> Iterator[TokenClip]:
    rng = generator(0, "bench store", part)
    # a token of rank r is met in proportion to 1/r, and stays for one position or two
    shares = 1 / np.arange(1, CLUSTERS + 1)
    ranks = rng.choice(CLUSTERS, 1000 * POSITIONS, p=shares / shares.sum())
    ids_CPQ = np.repeat(ranks, rng.integers(1, 3, len(ranks)))[: 1000 * POSITIONS].reshape(1000, POSITIONS, 1)
    for clip, ids_PQ in enumerate(ids_CPQ.astype(np.uint16)):
        name = f"{part}-{clip}"
        yield TokenClip(key=name, group=name, label_ids=[0], ids_PQ=ids_PQ, beside={})
