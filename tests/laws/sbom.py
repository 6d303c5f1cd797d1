"""`python -m tests.laws.sbom FILE` writes what requirements.lock pins as a CycloneDX bill of materials, with licences.

Equal locks make equal bytes: it holds no time and no number of its own. The hashes of all wheels stand in the lock.
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.laws.licences import ROOT, noted

PIN = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)


def bill() -> dict[str, Any]:
    """Return the bill; a package that is pinned per version of Python has an entry for each."""
    licences = noted((ROOT / "NOTICE").read_text())
    pins = sorted(set(PIN.findall((ROOT / "requirements.lock").read_text())))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": _component("application", project["name"], project["version"], project["license"])},
        "components": [_component("library", name, version, licences[name]) for name, version in pins],
    }


def _component(kind: str, name: str, version: str, licence: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    licences = [{"license": {"name": licence}}]
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "licenses": licences, "purl": purl}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=1) + "\n")
