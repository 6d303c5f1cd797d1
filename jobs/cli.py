"""The console command `audio-tokens NAME ...`: finds the job of that name and hands it the rest of the line."""

import importlib
import sys
from collections.abc import Sequence

from audio_tokens.errors import did_you_mean

COMMANDS = {
    "demo": "every stage on the embedded soundscapes, then a leaderboard and a report",
    "run": "every stage on your data",
    "build": "audio source -> mel shards",
    "cluster": "mel shards -> codebook",
    "encode": "mel shards (or sound) + codebook -> tokens.zarr",
    "quality": "what the tokens of a codebook carry, as figures and pictures",
    "export": "tokens.zarr -> parquet",
    "train": "tokens or mel shards -> run",
    "pretrain": "tokens -> a model to start from",
    "evaluate": "score a run on a split",
    "predict": "a run + sound files -> their labels",
    "tokens": "sound files -> their tokens, as runs with times",
    "listen": "sound files -> what their tokens sound like",
    "push": "a model -> the Hugging Face hub",
    "compare": "two runs on the same clips, with a paired p-value",
    "cross-validate": "one system on every fold",
    "sweep": "recipes x systems x seeds, one leaderboard",
    "report": "a work folder -> report.html",
    "describe": "what an artefact holds",
    "verify": "re-read an artefact against its hashes",
    "lineage": "what an artefact was made from, by the hashes of its files",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to `jobs.<name>.main`; heavy imports happen inside the job, so `--help` answers within a second."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"audio-tokens {version('audio-tokens')}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print("usage: audio-tokens COMMAND ...   (audio-tokens COMMAND --help lists its options)\n")
        for name, summary in COMMANDS.items():
            print(f"  {name:<16}{summary}")
        print("\n  --version       print the version of this program")
        return 0
    name = words.pop(0)
    if name not in COMMANDS:
        print(f"audio-tokens: error: unknown command {name!r}; {did_you_mean(name, COMMANDS)}", file=sys.stderr)
        return 2
    return importlib.import_module(f"audio_tokens.jobs.{name.replace('-', '_')}").main(words)


if __name__ == "__main__":
    sys.exit(main())
