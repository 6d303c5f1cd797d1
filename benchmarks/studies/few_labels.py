"""Is pre-training worth its time where labels are few? token-bert with 10, 100 and all labels a class, both ways.

    python -m benchmarks.studies.few_labels --tokens RUN/speech-0/tokens.zarr --work W

Every clip that may be learnt from is heard without its label first (hidden tokens are predicted); then `labels` clips
of every class, drawn by the seed, are learnt from, with those weights to start from and without. Both choose their
epoch on the validation part and are scored on the tested one. The draws of one seed lie within one another. A run that
is complete is not made again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_tokens.engine.scores.bootstrap import difference
from audio_tokens.jobs import pretrain, train
from audio_tokens.jobs.artefacts.run_folder import RunFolder
from audio_tokens.seeds import generator
from audio_tokens.shards.tokens.token_store import TokenStore
from benchmarks.studies.systems_table import Tested

# Of recipe `speech`, without the convolutions, which pre-training knows nothing of: they would blur what is hidden.
OPTIONS = {"batch_clips": 64, "learning_rate": 1e-3, "dropout": 0.1}
TAGGING = {"soft": "true", "label_smoothing": 0.1, "mask": 0.1}
PRETRAIN_EPOCHS = 20
EPOCHS = {10: 100, 100: 30, 0: 15}  # by labels a class: some 700, 1,900 and 1,700 steps on 40 classes, 180 clips each
SEEDS = (0, 1, 2)
TITLES = ("labels a class", "from drawn weights", "pre-trained", "gain, points [95 %], p")


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True, help="tokens.zarr of a data set with splits")
    parser.add_argument("--work", type=Path, required=True, help="where the runs go")
    parser.add_argument("--labels", type=int, nargs="+", default=list(EPOCHS), choices=EPOCHS, help="0: all of them")
    words = parser.parse_args(argv)
    initial = words.work / "pretrained"
    own = [f"--options.{name}={value}" for name, value in OPTIONS.items()]
    tagging = [f"--options.{name}={value}" for name, value in TAGGING.items()]
    if pretrain.main(
        ["--tokens", str(words.tokens), "--out", str(initial), f"--options.epochs={PRETRAIN_EPOCHS}", *own]
    ):
        return 1
    print(f"| {' | '.join(TITLES)} |\n|" + "---|" * len(TITLES), flush=True)
    for labels in words.labels:
        both = []
        for name, start in (("drawn", []), ("pretrained", ["--init", str(initial)])):
            runs = {seed: words.work / f"{name}-{labels or 'all'}-{seed}" for seed in SEEDS}
            for seed, run in runs.items():
                few = ["--subset", str(drawn(words.tokens, labels, seed, words.work))] if labels else []
                said = ["--system", "token-bert", "--tokens", str(words.tokens), "--out", str(run), "--seed", str(seed)]
                if train.main([*said, *start, *few, *own, *tagging, f"--options.epochs={EPOCHS[labels]}"]):
                    return 1
            both.append(Tested({seed: [RunFolder(run).predictions()] for seed, run in runs.items()}))
        print(row(labels, *both), flush=True)
    return 0


def row(labels: int, drawn: Tested, pretrained: Tested) -> str:
    """Return a line of the table: the accuracy of both, and what the second has more, paired by clip."""
    value = pretrained.mean["accuracy"] - drawn.mean["accuracy"]
    found = difference(drawn.mean_R["accuracy"], pretrained.mean_R["accuracy"], value)
    gain = f"{100 * value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}], p {found.p:.3f}"
    return f"| {labels or 'all'} | {drawn.cell('accuracy')} | {pretrained.cell('accuracy')} | {gain} |"


def drawn(tokens: Path, labels: int, seed: int, work: Path) -> Path:
    """Return a file with the keys of `labels` training clips of every class, the first in a random order."""
    file = work / f"keys-{labels}-{seed}.txt"
    clips = TokenStore.open(tokens).group("train")
    label_C = clips.label_ids[clips.label_offsets[:-1]]  # every clip has one
    order_C = generator(seed, "few labels").permutation(len(label_C))
    chosen = [order_C[label_C[order_C] == label][:labels] for label in np.unique(label_C)]
    keys = [clips.keys[clip] for clip in np.sort(np.concatenate(chosen)).tolist()]
    file.write_text("\n".join(keys) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    raise SystemExit(main())
