"""The bytes of a data set's shards by position: local ones through a few open files, remote ones by ranges."""

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from io import FileIO

from audio_tokens.errors import UserError
from audio_tokens.shards.dataset.clip_table import CLIPS
from audio_tokens.shards.sources.addresses.reach import named_by
from audio_tokens.shards.sources.addresses.remote import file_system_of, told

OPEN_FILES = 512  # of the 1,024 that most systems allow a process; opening another one takes as long as reading 7 KB
# Of neighbouring clips, read at once: as much as the cache near a core holds (8 MB take three times as long), or over a
# network, where a request waits for its answer as long as for a good part of this.
LOCAL_SPAN_BYTES, REMOTE_SPAN_BYTES = 1 << 20, 1 << 23


class ShardFiles:
    """The shards of these names and lengths in a folder or under a URL; threads may share it."""

    def __init__(self, location: str, shards: Sequence[tuple[str, int]]) -> None:
        self._location, self._shards, self._local = location, shards, "://" not in location
        self.span_bytes = LOCAL_SPAN_BYTES if self._local else REMOTE_SPAN_BYTES
        self._opened = lru_cache(maxsize=OPEN_FILES)(partial(_open, location, shards))

    def read(self, shard_index: int, start: int, stop: int) -> memoryview:
        """Return bytes start..stop of a shard: one `pread`, or one request for this range and no more.

        Raises UserError where the shard is missing or shorter, OSError where it cannot be read.
        """
        if self._local:
            data = os.pread(self._opened(shard_index).fileno(), stop - start, start)
        else:
            data = self._remote_range(shard_index, start, stop)
        if len(data) != stop - start:
            name = self._shards[shard_index][0]
            said = "is torn; fetch or build it again" if len(data) < stop - start else "is served whole, not in ranges"
            raise UserError(f"shard {self._location}/{name} {said}: {stop - start} bytes are {len(data)}")
        return memoryview(data)

    def will_read(self, shard_index: int, start: int, stop: int) -> None:
        """Have the system fetch bytes of a local shard meanwhile; they are read later."""
        if self._local:
            os.posix_fadvise(self._opened(shard_index).fileno(), start, stop - start, os.POSIX_FADV_WILLNEED)

    def _remote_range(self, shard_index: int, start: int, stop: int) -> bytes:
        url = named_by(f"{self._location}/{CLIPS}", self._shards[shard_index][0])
        files, path = file_system_of(url)
        try:
            data: bytes = files.cat_file(path, start=start, end=stop)
        except FileNotFoundError as error:
            raise told(error, url) from None
        except (OSError, UserError):
            raise
        except Exception as error:  # whatever a file system behind a URL raises
            raise ConnectionError(f"{url} cannot be read: {error}") from None
        return data


def _open(location: str, shards: Sequence[tuple[str, int]], shard_index: int) -> FileIO:
    """Open a local shard; whoever still reads from it keeps it open."""
    name, length = shards[shard_index]
    try:
        file = FileIO(f"{location}/{name}")
    except FileNotFoundError:
        raise UserError(f"shard {location}/{name} is missing; build the data set again") from None
    found = os.fstat(file.fileno()).st_size
    if found != length:
        raise UserError(
            f"shard {location}/{name} is torn: it has {found} bytes of {length}; `audio-tokens verify` tells more"
        )
    return file
