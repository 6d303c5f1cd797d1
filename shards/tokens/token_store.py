"""tokens.zarr: the tokens of a data set, a zarr v3 store that any reader of the format opens.

C clips, P positions of all clips, Q token streams, M alternatives. A group per split or fold holds flat arrays:

    ids          uint16 [P, Q]      offsets        int64 [C + 1]   clip c has positions offsets[c]..offsets[c + 1]
    label_ids    int32 [.]          label_offsets  int64 [C + 1]
    key_bytes    uint8 [.]          key_offsets    int64 [C + 1]   UTF-8; string arrays are not portable between readers
    group_bytes  uint8 [.]          group_offsets  int64 [C + 1]   the recording a clip was cut from
    top_ids      uint16 [P, Q, M]   top_cosines    uint8 [P, Q, M]   only where several ids a position were asked for

With V views of every clip the group `<place>/views` holds the same arrays, view v of clip c in row c * V + v, and where
clips were mixed into each other `label_shares` float32 [.] beside `label_ids`.

What has a row a position is one chunk without a codec, so that it is mapped and not read: ids of two million clips are
0.9 GB a stream, which all processes of a machine share. The other arrays are compressed; so are `top_ids` and
`top_cosines` in older stores, which are read whole.

The store's attributes say what they mean: position p of a clip stands for `context_frames` frames of its mel (in a
store of several streams, the fewest) from frame p x `stride_frames` on. `complete: true` is set last: the unwritten
tail of an array reads as 0, which is a token.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError, json_of
from audio_tokens.shards.tokens.store_check import check_attributes, check_shapes
from audio_tokens.shards.tokens.token_group import TokenGroup, reading

FORMAT, VERSION = "audio-tokens-store", 2
# The arrays that hold a clip's values one after the other, and the array of offsets that cuts them up.
RAGGED = {"ids": "offsets", "label_ids": "label_offsets", "key_bytes": "key_offsets", "group_bytes": "group_offsets"}
# Arrays with as many rows as one of those, where the store has them.
BESIDE = {"ids": ("top_ids", "top_cosines"), "label_ids": ("label_shares",)}
VIEWS = "/views"  # ends the name of the group with a split's or fold's views


class TokenStore:
    """A published token store."""

    def __init__(self, path: Path, attributes: dict[str, Any]) -> None:
        self.path, self.attributes = path, attributes
        self.places: tuple[str, ...] = tuple(attributes["places"])
        self.labels: tuple[str, ...] = tuple(attributes["labels"])
        self.single_label: bool = attributes["single_label"]
        self.vocab_sizes: tuple[int, ...] = tuple(attributes["vocab_sizes"])
        self.codebook_hash: str = attributes["codebook"]
        self.dataset_hash: str = attributes["dataset"]
        self.views: int = attributes.get("views", 0)

    @classmethod
    def open(cls, path: str | Path) -> "TokenStore":
        """Open a store. Raises UserError where there is none, or one that is incomplete or of another version."""
        path = Path(path)
        try:
            attributes = json_of((path / "zarr.json").read_bytes())["attributes"]
            kind, version = attributes["format"], attributes["version"]
        except FileNotFoundError:
            raise UserError(f"there are no tokens at {path}; `audio-tokens encode` makes them") from None
        except (ValueError, KeyError, TypeError, NotADirectoryError):
            raise UserError(f"{path} is no token store of this program's; make it with `audio-tokens encode`") from None
        if (kind, version) != (FORMAT, VERSION):
            raise UserError(
                f"{path} holds {kind} version {version}, this program reads {FORMAT} version {VERSION}; encode again"
            )
        if attributes.get("complete") is not True:
            raise UserError(f"{path} is not complete: it was never finished, and what is missing would read as token 0")
        try:
            check_attributes(attributes)
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); encode again") from None
        return cls(path, attributes)

    @cached_property
    def folds(self) -> bool:
        """Whether the places are folds rather than splits."""
        return bool(self.places) and all(place.startswith("fold-") for place in self.places)

    def group(self, *places: str) -> TokenGroup:
        """Return some splits or folds as one, or with VIEWS after a name its views; arrays are read when asked for.

        Raises UserError for places that the store does not have, and for arrays that are not of the format.
        """
        import zarr

        for place in places:
            if (place.removesuffix(VIEWS) if self.views else place) not in self.places:
                raise UserError(f"{self.path} has no split or fold {place!r}; it has {', '.join(self.places)}")
        parts = []
        for place in places:
            with reading(self.path, place):
                node = zarr.open_group(self.path, mode="r")[place]
                assert isinstance(node, zarr.Group)
                parts.append(dict(node.arrays()))
                check_shapes(parts[-1], len(self.vocab_sizes))
        return TokenGroup(self.path, places, parts, self.vocab_sizes, len(self.labels))
