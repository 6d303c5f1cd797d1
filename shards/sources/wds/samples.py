"""The samples of a webdataset shard: the members of a tar with one name, wherever in it they stand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from audio_tokens.shards.sources.files import AUDIO_ENDINGS
from audio_tokens.shards.sources.tars import Member, tar_members

LABEL_ENDINGS = ("json", "cls")
# Sound whose labels have not come yet is held up to here: a tar may list all sounds first and all labels then.
HELD_BYTES = 1 << 28


@dataclass
class Sample:
    """What is known of one sample: its key, its members by their endings, and why the others are not known."""

    key: str
    parts: dict[str, Member] = field(default_factory=dict)
    fault: str = ""

    @property
    def is_complete(self) -> bool:
        return any(name in self.parts for name in AUDIO_ENDINGS) and any(name in self.parts for name in LABEL_ENDINGS)

    @property
    def bytes(self) -> int:
        return sum(len(member.data or b"") for member in self.parts.values())


def samples(url: str) -> Iterator[Sample]:
    """Yield every sample of a shard, complete ones as they come and those that lack a part at the end.

    A sample's members need not stand side by side. A second member of one name opens a second sample, whose key is then
    a duplicate. Members that are neither sound nor labels make no sample. Raises what `tar_members` raises, after all
    samples of which it has yielded a member.
    """
    waiting: dict[str, list[Sample]] = {}
    held_bytes = 0
    current: Sample | None = None
    fault: Exception | None = None
    for member in _until(tar_members(url)):
        if isinstance(member, Exception):
            fault = member
            break
        key, ending = split_name(member.name)
        if ending not in AUDIO_ENDINGS and ending not in LABEL_ENDINGS:
            continue
        if current and (key != current.key or ending in current.parts) and current.is_complete:
            yield current
            current = None
        if current and current.key == key and ending not in current.parts:
            current.parts[ending] = member
            continue
        if current:
            waiting.setdefault(current.key, []).append(current)
            held_bytes += current.bytes
        current = _taken(waiting, key, ending)
        held_bytes -= current.bytes
        current.parts[ending] = member
        if held_bytes > HELD_BYTES:
            held_bytes -= _let_go(waiting)
    if current:
        waiting.setdefault(current.key, []).append(current)
    for found in waiting.values():
        for sample in found:
            sample.fault = f"its archive breaks off: {fault}" if fault and not sample.is_complete else ""
            yield sample
    if fault:
        raise fault


def split_name(name: str) -> tuple[str, str]:
    """Cut a member's name into key and ending at its last dot: `x.1.wav` and `x.2.wav` are two clips."""
    path = PurePosixPath(name)
    stem, dot, ending = path.name.rpartition(".")
    return ((path.parent / stem).as_posix(), ending.lower()) if dot and stem else (name, "")


def _until(members: Iterator[Member]) -> Iterator[Member | Exception]:
    """Yield the members, and then the error that reading them ended with, if any."""
    try:
        yield from members
    except Exception as error:
        yield error


def _taken(waiting: dict[str, list[Sample]], key: str, ending: str) -> Sample:
    """Return the sample that a member belongs to: the first that waits for it, or a new one."""
    for sample in waiting.get(key, []):
        if ending not in sample.parts:
            waiting[key].remove(sample)
            return sample
    return Sample(key)


def _let_go(waiting: dict[str, list[Sample]]) -> int:
    """Drop the sound of all samples that wait, which are then rejects, and return how many bytes that was."""
    dropped = 0
    for found in waiting.values():
        for sample in found:
            dropped += sample.bytes
            for ending, member in sample.parts.items():
                if ending in AUDIO_ENDINGS:
                    problem = f"its labels stand apart from it in the archive, {HELD_BYTES >> 20} MiB of sound or more"
                    sample.parts[ending] = Member(member.name, None, problem)
            dropped -= sample.bytes
    return dropped
