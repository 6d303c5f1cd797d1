"""The console command `audio-tokens NAME ...`: finds the job of that name and hands it the rest of the line."""

import argparse
import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence

from audio_tokens.errors import did_you_mean

COMMANDS = {
    "demo": "every stage on the embedded soundscapes, then a leaderboard and a report",
    "run": "every stage on your data",
    "plan": "what so many clips will take, stage by stage",
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

# At its end Python looks through all that torch made, 0.5 s of CPU, for what could be freed: nothing is, from here on.
atexit.register(gc.freeze)


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to `jobs.<name>.main`; heavy imports happen inside the job, so `--help` answers within a second."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:
        words = _completed()
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


def _completed() -> list[str]:
    """Answer the shell that asks for a command's name, or return the words of its line, which the command completes.

    After `eval "$(register-python-argcomplete audio-tokens)"` a shell starts this program with the line in COMP_LINE.
    """
    import argcomplete

    line = os.environ["COMP_LINE"]
    words = line.split()[1:]
    if words and words[0] in COMMANDS and (len(words) > 1 or line.endswith(" ")):
        os.environ["_ARGCOMPLETE"] = "2"  # the command's own parser begins at the second word of the line
        whole = words if line.endswith(" ") else words[:-1]
        return whole[:-1] if whole[-1].startswith("--") else whole  # an option whose value is being typed
    parser = argparse.ArgumentParser(prog="audio-tokens")
    parser.add_argument("command", choices=COMMANDS)
    argcomplete.autocomplete(parser)
    return []


if __name__ == "__main__":
    sys.exit(main())
