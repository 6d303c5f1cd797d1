"""Files that are nearly right: some bytes changed, or one value of a JSON, a YAML or a table put in another's place."""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import yaml

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 65_536, 2**31, 2**63, 10**12, 10**30, -(10**12), 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "train", "../x", "/etc/passwd", "\0", "é", "x" * 3000),
    *([], {}, [[]], [0], [1, 2, 3], ["x"], {"x": 1}, [10**9] * 3),
)


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to three faults: flipped, cut, doubled, zeroed, put in, or nested without end."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not changed:
            return bytes(rng.randbytes(rng.randrange(40)))
        at, length = rng.randrange(len(changed)), 1 << rng.randrange(8)
        match rng.randrange(8):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + length] = bytes(len(changed[at : at + length]))
            case 5:
                changed[at : at + length] = rng.randbytes(length)
            case 6:
                changed[at:at] = rng.choice((b"[", b"{", b'{"a":', b"- ", b"&a ", b"(")) * 3000
            case _:
                digits = [place for place, byte in enumerate(changed) if 48 <= byte < 58]
                if digits:
                    changed[rng.choice(digits)] = rng.choice(b"0123456789-e.")
    return bytes(changed)


def of_json(data: bytes, rng: random.Random) -> bytes:
    """Return a JSON with a value exchanged, dropped or put in."""
    return json.dumps(_of_values(json.loads(data), rng)).encode()


def of_yaml(data: bytes, rng: random.Random) -> bytes:
    """Return a YAML with a value exchanged, dropped or put in."""
    return yaml.safe_dump(_of_values(yaml.safe_load(data), rng)).encode()


def of_lines(data: bytes, rng: random.Random) -> bytes:
    """Return lines of which some are exchanged, dropped, doubled or have a field changed."""
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines.insert(at, rng.choice(lines))
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines[at] = of_bytes(lines[at], rng)
            case _:
                fields = lines[at].split(b",")
                fields[rng.randrange(len(fields))] = str(rng.choice(VALUES)).encode()
                lines[at] = b",".join(fields)
    return b"\n".join(lines)


def any_of(*ways: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """Return what changes bytes in one of these ways."""
    return lambda data, rng: rng.choice(ways)(data, rng)


def _of_values(found: Any, rng: random.Random) -> Any:
    for _ in range(rng.choice((1, 1, 2))):
        holder, path = {"": found}, [""]
        while isinstance(holder[path[-1]], dict | list) and holder[path[-1]] and (len(path) == 1 or rng.random() < 0.8):
            holder = holder[path[-1]]  # type: ignore[assignment]
            path.append(rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if len(path) == 1:
            return copy.deepcopy(rng.choice(VALUES))
        match rng.randrange(4):
            case 0:
                del holder[path[-1]]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(("x", "", "format", "é"))] = copy.deepcopy(rng.choice(VALUES))
            case _:
                holder[path[-1]] = copy.deepcopy(rng.choice(VALUES))
    return found
