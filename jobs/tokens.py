"""tokens: the tokens of a clip, as runs with their times. P positions, Q token streams."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Print the tokens of sound files: runs of equal tokens, with the seconds at which they begin and end.

    Args:
        clips: sound files
        codebook: the folder of a codebook (a model's folder has one too, under codebook/)
        json: print one JSON array, an entry a file
    """

    clips: tuple[str, ...]
    codebook: str
    json: bool = False


def tokens(job: Tokens) -> None:
    """Print a line a run: start, end, how many positions, and the token of every stream."""
    import numpy as np

    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.jobs.inputs.sound_files import read_sound

    tokenizer = AudioTokenizer.from_pretrained(job.codebook)
    rate_hz = tokenizer.mel.rate_hz
    position_s = tokenizer.codebook.slices.stride * tokenizer.mel.hop_samples / rate_hz
    entries = []
    for file in job.clips:
        wave_S = read_sound(file, tokenizer.mel)
        ids_PQ = tokenizer.encode(wave_S, rate_hz)
        starts = np.flatnonzero(np.any(np.diff(ids_PQ, axis=0, prepend=ids_PQ[:1].astype(int) - 1) != 0, axis=1))
        ends = [*starts[1:], len(ids_PQ)]
        runs = [
            {
                "start_s": round(start * position_s, 3),
                "end_s": round(min(end * position_s, len(wave_S) / rate_hz), 3),
                "positions": int(end - start),
                "tokens": ids_PQ[start].tolist(),
            }
            for start, end in zip(starts.tolist(), ends, strict=True)
        ]
        entries.append({"file": file, "positions": len(ids_PQ), "runs": runs})
        if not job.json:
            print(f"{file}: {len(ids_PQ)} positions, {len(runs)} runs of {tokenizer.vocab_sizes} tokens")
            for run in runs:
                ids = " ".join(f"{token:>5}" for token in run["tokens"])
                print(f"{run['start_s']:9.3f} {run['end_s']:9.3f} s {run['positions']:>5} x {ids}")
    if job.json:
        print(json.dumps(entries, indent=1))


def main(argv: Sequence[str] | None = None) -> int:
    return command(Tokens, tokens, argv, positional="clips")


if __name__ == "__main__":
    sys.exit(main())
