"""listen: what the tokens of a clip sound like."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audio_tokens.jobs.command import command


@dataclass(frozen=True, kw_only=True)
class Listen:
    """Write clips as their tokens give them back, as WAV, beside the clips themselves.

    Args:
        clips: sound files
        codebook: the folder of a codebook (a model's folder has one too, under codebook/)
        out: the folder that takes NAME-clip.wav and NAME-tokens.wav
    """

    clips: tuple[str, ...]
    codebook: str
    out: str = "listen"


def listen(job: Listen) -> None:
    """Decode every clip's tokens at the clip's own level, and turn that mel into sound by Griffin-Lim."""
    import numpy as np
    import soundfile

    from audio_tokens.engine.codebook.own_level import decode_at_level_of
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer
    from audio_tokens.engine.sound.log_mel import LogMel
    from audio_tokens.engine.sound.resynthesis import mel_to_wave
    from audio_tokens.jobs.inputs.sound_files import read_sound
    from audio_tokens.shards.publish import published_file

    tokenizer = AudioTokenizer.from_pretrained(job.codebook)
    front_end = LogMel(tokenizer.mel)
    for file in job.clips:
        wave_S = read_sound(file, tokenizer.mel)
        mel_TF = front_end(wave_S)
        ids_PQ = tokenizer.encode_mel(mel_TF)
        decoded_TF = decode_at_level_of(tokenizer, mel_TF, ids_PQ)
        level = float(np.sqrt(np.mean(np.square(wave_S), dtype=np.float64)))
        heard_S = mel_to_wave(decoded_TF, tokenizer.mel, level)
        for name, sound_S in (("clip", wave_S), ("tokens", heard_S)):
            path = Path(job.out) / f"{Path(file).stem}-{name}.wav"
            with published_file(path) as temporary:
                soundfile.write(temporary, sound_S, tokenizer.mel.rate_hz, format="WAV")
        error_db = float(np.sqrt(np.mean(np.square(decoded_TF - mel_TF))))
        print(f"listen: {file}: {len(ids_PQ)} positions, mel error {error_db:.1f} dB -> {path}")


def main(argv: Sequence[str] | None = None) -> int:
    return command(Listen, listen, argv, positional="clips")


if __name__ == "__main__":
    sys.exit(main())
