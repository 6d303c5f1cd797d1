"""The tasks of an encoding, in whatever process: each leaves a part per split or fold, then its record.

The input is mel shards or sound: `tasks` are listed once, `clips(task)` is asked in any process.

`000012-train.npz` holds tokens, `000012.json` what the task came to: clips per place and rejects. The record is written
last, so that a task is either finished or will be done again with the same result.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from audio_tokens.engine.sound.mel_config import MelConfig
from audio_tokens.engine.sound.view_config import ViewConfig
from audio_tokens.jobs.artefacts.fingerprints import digest
from audio_tokens.jobs.inputs.mel_lanes import mel_of
from audio_tokens.shards.dataset.manifest import Dataset
from audio_tokens.shards.sources.clip import Reject
from audio_tokens.shards.sources.registry import Source, Task, open_source
from audio_tokens.shards.tokens.token_store import VIEWS

if TYPE_CHECKING:
    from audio_tokens.jobs.inputs.front_end import View

BLOCK_CLIPS = 32  # handed to the tokenizer together: what a GPU wants, and 1 MB of mel each


class MelClip(NamedTuple):
    """A clip, or a view of one, on its way to tokens; `label_shares` only where clips may be mixed."""

    place: str
    key: str
    group: str
    label_ids: list[int]
    mel_TF: Float[np.ndarray, "T F"]
    label_shares: list[float] | None = None


class FromShards:
    """Mel shards, a task each."""

    def __init__(self, shards: str) -> None:
        self._dataset = Dataset.open(shards)
        self.tasks = range(len(self._dataset.shards))
        self.clips_per_task = [shard.clips for shard in self._dataset.shards]
        self.labels, self.parent = self._dataset.labels, self._dataset.hash
        self.mel: dict[str, Any] = mel_of(self._dataset)

    def __reduce__(self) -> tuple[Any, ...]:
        return FromShards, (self._dataset.location,)  # each process maps the shards itself

    def clips(self, task: int) -> Iterator[MelClip]:
        for sample in self._dataset.read(task):
            meta = sample.meta
            yield MelClip(meta["place"], sample.key, meta["group"], meta["labels"], sample.array_TF)


class FromSource:
    """Sound, the tasks of its source, with views of every clip; clips that cannot become mel are rejected."""

    def __init__(self, source: str, mel: dict[str, Any], views: ViewConfig, seed: int) -> None:
        from audio_tokens.engine.sound.log_mel import FrontEnd

        self._source: Source = open_source(source)
        self.tasks: list[Task] = self._source.tasks()
        self.clips_per_task = [task.promised_clips for task in self.tasks]
        self.labels, self.mel = self._source.labels, mel
        drawn = (asdict(views), seed) if views.count else ()
        self.parent = digest(source, mel, self.labels, [asdict(task) for task in self.tasks], *drawn)
        self._front_end, self._views, self._seed = FrontEnd(MelConfig.from_dict(mel)), views, seed
        self._ids = {label: number for number, label in enumerate(self.labels)}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"tasks": [], "clips_per_task": []}  # a worker is told its task; the listing may be long

    def clips(self, task: Task) -> Iterator[MelClip | Reject]:
        from audio_tokens.errors import ClipError
        from audio_tokens.jobs.inputs.front_end import ClipToViews
        from audio_tokens.shards.tasks.task import UNREADABLE

        to_views = ClipToViews(self._front_end, self._views, self._seed)
        for clip in self._source.clips(task):
            if isinstance(clip, Reject):
                yield clip
                continue
            try:
                own, *others = to_views(clip)
            except ClipError as error:
                yield Reject(clip.source_id, str(error))
                continue
            except UNREADABLE as error:
                yield Reject(clip.source_id, (error.strerror or str(error)).lower())
                continue
            yield MelClip(clip.place, clip.key, clip.group, self._label_ids(own), own.mel_TF)
            for other in others:
                shares = list(other.shares.values()) if self._views.mix else None
                yield MelClip(clip.place + VIEWS, clip.key, clip.group, self._label_ids(other), other.mel_TF, shares)

    def _label_ids(self, view: "View") -> list[int]:
        return [self._ids[label] for label in view.shares]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """An encoding in hand: `input` by the codebook in `codebook`, into the folder `parts`."""

    input: FromShards | FromSource
    codebook: str
    codebook_hash: str
    top: int
    parts: Path
    gpus: int

    def record(self, index: int) -> Path:
        return self.parts / f"{index:06d}.json"

    def part(self, index: int, place: str) -> Path:
        return self.parts / f"{index:06d}-{place.replace('/', '-')}.npz"

    def run(self, index: int, task: Any) -> int:
        """Encode one task; return the number of clips met."""
        from threadpoolctl import threadpool_limits

        from audio_tokens.shards.publish import publish_bytes
        from audio_tokens.shards.tokens.token_parts import TokenClip, write_part

        tokenizer = _tokenizer(self.codebook, self.codebook_hash, index % self.gpus if self.gpus else None)
        rejects: list[Reject] = []
        by_place: dict[str, list[TokenClip]] = {}
        with threadpool_limits(1):  # a worker per core: a second thread each only gets in the way
            for block in _blocks(self.input.clips(task), rejects):
                tokens = tokenizer.encode_mels([clip.mel_TF for clip in block], self.top)
                for clip, (ids_PQ, top_ids_PQM, top_cosines_PQM) in zip(block, tokens, strict=True):
                    beside = {} if top_ids_PQM is None else {"top_ids": top_ids_PQM, "top_cosines": top_cosines_PQM}
                    if clip.label_shares is not None:
                        beside["label_shares"] = np.array(clip.label_shares, np.float32)
                    by_place.setdefault(clip.place, []).append(
                        TokenClip(
                            key=clip.key, group=clip.group, label_ids=clip.label_ids, ids_PQ=ids_PQ, beside=beside
                        )
                    )
        counts = {place: write_part(self.part(index, place), clips) for place, clips in by_place.items()}
        record = {"clips": counts, "rejects": [[reject.source_id, reject.reason] for reject in rejects]}
        publish_bytes(self.record(index), json.dumps(record).encode())
        return sum(count for place, count in counts.items() if not place.endswith(VIEWS)) + len(rejects)

    def run_all(self, todo: Sequence[int], workers: int, on_clips: Callable[[int], object]) -> list[str]:
        """Run the tasks `todo` on so many processes; return a line for each that failed three times."""
        if workers <= 1:
            for index in todo:
                on_clips(self.run(index, self.input.tasks[index]))
            return []
        from audio_tokens.shards.workers.local_pool import local_pool
        from audio_tokens.shards.workers.retry import call_all

        calls = [(index, self.input.tasks[index]) for index in todo]
        with local_pool(workers) as executor:
            failures = call_all(executor, self.run, calls, on_clips)
        return [f"task {failure.call[0]} failed three times: {failure.reason}" for failure in failures]

    def pack(self, out: Path, attributes: dict[str, Any], parents: dict[str, str | None]) -> int:
        """Put all parts together as the store `out`; return the number of rejects, which lie in its rejects.jsonl."""
        from audio_tokens.shards.dataset.manifest import place_rank
        from audio_tokens.shards.tokens.token_parts import pack

        records = [json.loads(self.record(index).read_bytes()) for index in range(len(self.input.tasks))]
        found = {place for record in records for place in record["clips"]}
        places = sorted(found, key=lambda place: (place_rank(place.removesuffix(VIEWS)), place))
        parts = {
            place: [self.part(index, place) for index, record in enumerate(records) if place in record["clips"]]
            for place in places
        }
        rejects = [(source_id, reason) for record in records for source_id, reason in record["rejects"]]
        pack(out, parts, attributes, rejects, parents)
        return len(rejects)


@lru_cache(maxsize=1)
def _tokenizer(codebook: str, codebook_hash: str, device: int | None) -> Any:
    """Return the codebook's tokenizer; by its hash too, since a folder may have been fitted anew meanwhile."""
    from audio_tokens.engine.codebook.tokenizer import AudioTokenizer

    return AudioTokenizer.from_pretrained(codebook, device)


def _blocks(clips: Iterator[MelClip | Reject], rejects: list[Reject]) -> Iterator[list[MelClip]]:
    """Yield the clips in blocks, and put the rejects aside."""
    while items := list(islice(clips, BLOCK_CLIPS)):
        rejects.extend(item for item in items if isinstance(item, Reject))
        yield [item for item in items if isinstance(item, MelClip)]
