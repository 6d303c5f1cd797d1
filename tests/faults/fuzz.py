"""`python -m tests.faults.fuzz [ARTEFACTS] --cases 100000`: files that are nearly right, to everything that opens one.

ARTEFACTS is a folder that artefacts.py has filled; without it one is made. Prints every case that ends in anything but
a UserError, or takes longer than a minute, with the seed that makes it again; exit code 1 where there is one, or where
the process came to hold more than MOST_BYTES. A case that hangs in C ends the process with a traceback.
"""

import argparse
import contextlib
import faulthandler
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from audio_tokens.errors import UserError
from tests.faults.artefacts import make_artefacts
from tests.faults.nearly_right import lay_out
from tests.faults.openers import OPENERS, spoil
from tests.peak_memory import peak_bytes

PATIENCE_S = 60
MOST_BYTES = 1 << 30


class HangError(BaseException):
    """A case that does not end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz")
    parser.add_argument("artefacts", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--openers", default=",".join(OPENERS))
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    faulthandler.enable()
    found: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    most_bytes = MOST_BYTES
    names, deadline = asked.openers.split(","), time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory() as folder:
        if asked.artefacts is None:
            maker = get_context("spawn").Process(target=make_artefacts, args=(Path(folder) / "artefacts",))
            maker.start()  # apart, since memory is that of what opens files
            maker.join()
            assert maker.exitcode == 0, "the artefacts were not made"
        lay_out(asked.artefacts or Path(folder) / "artefacts", Path(folder))
        done, spent_s = Counter(dict.fromkeys(names, 0)), dict.fromkeys(names, 0.0)
        while done.total() < asked.cases and time.monotonic() < deadline:
            # whoever has had the least time, so that what opens fast is met most often
            name = min(names, key=lambda each: spent_s[each])
            seed, start = f"{name}:{asked.seed}:{done[name]}", time.process_time()
            error = _case(name, Path(folder), seed)
            spent_s[name] += time.process_time() - start if done[name] else 0.0  # the first one imports, too
            done[name] += 1
            refused[name] += isinstance(error, UserError)
            for kind in _faults(name, error, most_bytes):
                found[kind] += 1
                if found[kind] == 1:
                    print(f"{kind}: {str(error)[:200]!r} by seed {seed!r}", flush=True)
            most_bytes = max(most_bytes, peak_bytes())
            if done.total() % 5000 == 0:
                print(f"{done.total()} cases, {sum(refused.values())} refused", flush=True)
    print(", ".join(f"{name} {count}" for name, count in done.items()))
    print(f"{done.total()} cases over {len(names)} openers, {sum(refused.values())} refused:")
    print(f"{sum(found.values())} findings of {len(found)} kinds; at most {peak_bytes() / 1e6:.0f} MB held")
    return 1 if found else 0


def _case(name: str, folder: Path, seed: str) -> BaseException | None:
    faulthandler.dump_traceback_later(2 * PATIENCE_S, exit=True)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
            return spoil(OPENERS[name], folder, random.Random(seed))[2]
    except HangError as hang:
        return hang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _faults(name: str, error: BaseException | None, most_bytes: int) -> Iterator[str]:
    """Yield what is not as it should be: more memory held than ever and allowed, anything said but one line."""
    if peak_bytes() > most_bytes:
        yield f"{name}: {peak_bytes() / 1e6:.0f} MB held"
    if error is not None and (not isinstance(error, UserError) or len(str(error).splitlines()) != 1):
        where = traceback.extract_tb(error.__traceback__)[-1]
        yield f"{name}: {type(error).__name__} in {Path(where.filename).name}:{where.lineno}"


def _hang(*_: object) -> None:
    raise HangError


if __name__ == "__main__":
    sys.exit(main())
