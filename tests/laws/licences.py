"""`python -m tests.laws.licences` writes the licences of all that requirements.lock names into NOTICE.

A package tells its licence in its metadata; one that is not installed here (of another system) keeps its line.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADING = "## Packages"
ABOUT = """The packages that requirements.lock names are installed from their publishers and not part of this project.
Their licences, as they state them (`python -m tests.laws.licences` writes this list):"""
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==", re.MULTILINE)
LINE = re.compile(r"^- (\S+): (.+)$", re.MULTILINE)


def locked() -> list[str]:
    """Return the names that requirements.lock pins."""
    return sorted(set(PIN.findall((ROOT / "requirements.lock").read_text())))


def noted(notice: str) -> dict[str, str]:
    """Return the licences that NOTICE lists."""
    return dict(LINE.findall(notice.partition(HEADING)[2]))


def licence_of(name: str) -> str | None:
    """Return what an installed package says of its licence: an SPDX expression, a name or a classifier."""
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return None
    classifiers = [c.rpartition(":: ")[2] for c in said.get_all("Classifier", []) if c.startswith("License ::")]
    text = (said.get("License") or "").strip()
    short = text if text and len(text) <= 60 and "\n" not in text else None
    return said.get("License-Expression") or short or ", ".join(classifiers) or "not stated in its metadata"


def main() -> int:
    """Write the list; return 1 where a licence is not known."""
    file = ROOT / "NOTICE"
    notice = file.read_text()
    before = noted(notice)
    found = {name: licence_of(name) or before.get(name, "unknown") for name in locked()}
    lines = [f"- {name}: {licence}" for name, licence in found.items()]
    file.write_text(f"{notice.partition(HEADING)[0].rstrip()}\n\n{HEADING}\n\n{ABOUT}\n\n" + "\n".join(lines) + "\n")
    unknown = [name for name, licence in found.items() if licence == "unknown"]
    print(f"{len(found)} packages; unknown: {', '.join(unknown) or 'none'}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
