"""AudioSet in small: both public layouts made of ESC-10 clips, with one clip of every kind that goes wrong."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
import soxr

DOG, RAIN, CLOCK = "/m/0bt9lr", "/m/06mb1", "/m/01x3z"
CLIP_S = 5.0


class Listed(NamedTuple):
    """A clip of the set; `reason` is a word of why it is rejected, or None where it is written."""

    video_id: str
    part: str
    mids: tuple[str, ...]
    data: bytes
    reason: str | None = None
    listed_s: float = CLIP_S


def encoded(wave_SC: np.ndarray, rate_hz: int, kind: str, subtype: str | None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave_SC, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def good_clips(esc10: Path, clips: int) -> Iterator[Listed]:
    """ESC-10 clips as AudioSet has them: FLAC of 24 bits, 48 or 44.1 kHz, stereo or mono."""
    parts = ("bal_train", "unbal_train", "eval")
    for number, path in enumerate(sorted((esc10 / "audio").iterdir())[:clips]):
        wave_S, rate_hz = soundfile.read(path, dtype="float32")
        to_hz = (48_000, 44_100)[number % 3 == 0]
        wave_S = soxr.resample(wave_S, rate_hz, to_hz)
        wave_SC = np.stack([wave_S, 0.5 * wave_S], axis=1) if number % 2 else wave_S
        video_id = f"{'-_'[number % 2]}v{number:09d}"
        data = encoded(wave_SC, to_hz, "FLAC", "PCM_24")
        yield Listed(video_id, parts[number % 3], ((DOG,), (RAIN, CLOCK))[number % 2], data)


def odd_clips() -> list[Listed]:
    rng = np.random.default_rng(0)
    wave_S = rng.uniform(-0.3, 0.3, round(48_000 * CLIP_S)).astype(np.float32)
    flac = encoded(wave_S, 48_000, "FLAC", "PCM_24")
    ogg = encoded(wave_S, 48_000, "OGG", "VORBIS")
    odd = [
        ("truncated00", flac[: len(flac) // 2], "cannot be decoded"),
        ("nobytes0000", b"", "empty file"),
        ("nosamples00", encoded(wave_S[:0], 48_000, "WAV", "PCM_24"), "no samples"),
        ("nansamples0", encoded(wave_S * np.nan, 48_000, "WAV", "FLOAT"), "not finite"),
        ("cutogg00000", ogg[: len(ogg) // 2], "cut off"),
        ("sixchannels", encoded(np.stack([wave_S] * 6, axis=1), 48_000, "FLAC", "PCM_16"), None),
        ("eightkhz000", encoded(wave_S[: round(8000 * CLIP_S)], 8_000, "FLAC", "PCM_16"), None),
        ("mp3asflac00", encoded(wave_S, 48_000, "MP3", "MPEG_LAYER_III"), None),
        ("-leadingdas", flac, None),
    ]
    clips = [Listed(video_id, "bal_train", (DOG,), data, reason) for video_id, data, reason in odd]
    short = encoded(wave_S[:9_600], 48_000, "FLAC", "PCM_24")
    clips.append(Listed("short000000", "bal_train", (DOG,), short, None, 0.2))
    clips.append(Listed("unknownmid0", "bal_train", (DOG, "/m/nonsense"), flac, "unknown label '/m/nonsense'"))
    clips.append(Listed("twicelisted", "bal_train", (DOG,), flac))
    clips.append(Listed("twicelisted", "unbal_train", (DOG,), flac, "duplicate key"))
    return clips


def write_parquet(folder: Path, clips: list[Listed], rows_per_group: int = 4) -> str:
    """Write the parquet layout, a file a part; return the source."""
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for part in ("bal_train", "eval", "unbal_train"):
        mine = [clip for clip in clips if clip.part == part]
        table = pa.table(
            {
                "video_id": [clip.video_id for clip in mine],
                "audio": pa.array([{"bytes": c.data, "path": f"{c.video_id}.flac"} for c in mine], audio),
                "labels": [list(clip.mids) for clip in mine],
                "human_labels": [["whatever"] for _ in mine],
            }
        )
        (folder / "data" / part).mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, folder / "data" / part / "00.parquet", row_group_size=rows_per_group)
    return f"audioset:{folder}"


def write_tars(folder: Path, clips: list[Listed]) -> str:
    """Write the tar layout, a tar a part, with the segment lists beside them; return the source."""
    folder.mkdir(parents=True, exist_ok=True)
    lists = {"bal_train": "balanced_train", "eval": "eval", "unbal_train": "unbalanced_train"}
    for part, name in lists.items():
        mine = [clip for clip in clips if clip.part == part]
        with tarfile.open(folder / f"{part}00.tar", "w") as tar:
            for clip in mine:
                member = tarfile.TarInfo(f"audio/{part}/{clip.video_id}.flac")
                member.size = len(clip.data)
                tar.addfile(member, io.BytesIO(clip.data))
        lines = ["# Segments csv created Sun Mar  5 10:54:31 2017", f"# num_ytids={len(mine)}", "# YTID, ..."]
        lines += [f'{c.video_id}, 30.000, {30 + c.listed_s:.3f}, "{",".join(c.mids)}"' for c in mine]
        (folder / f"{name}_segments.csv").write_text("\n".join(lines) + "\n")
    return f"audioset:{folder}"
