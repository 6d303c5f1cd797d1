"""What each stage costs on a machine: a fixed part, and a part for each unit of its work.

A stage's work is counted in one or two kinds of units: clustering reads drawn clips many times and all clips once.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from audio_tokens.errors import UserError, checked, json_of

FIELDS = {"machine": str, "recipe": dict, "stages": dict}
STAGE: dict[str, type | tuple[type, ...]] = {
    "fixed_s": (float, int),
    "core_s": dict,
    "fixed_gb": (float, int),
    "gb": (float, int),
    "written_bytes": dict,
}


@dataclass(frozen=True, kw_only=True)
class StageRates:
    """One stage: seconds of one core and bytes written for each unit of every kind, GB of a process for each clip."""

    fixed_s: float
    core_s: Mapping[str, float]
    fixed_gb: float
    gb: float
    written_bytes: Mapping[str, float]

    def seconds(self, units: Mapping[str, float]) -> float:
        """Return the seconds of one core that so many units take, without the fixed part."""
        return sum(self.core_s[kind] * count for kind, count in units.items())

    def written(self, units: Mapping[str, float]) -> float:
        """Return the bytes that are written for so many units."""
        return sum(self.written_bytes[kind] * count for kind, count in units.items())


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The rates of all stages on one machine; `recipe` says with which clusters, positions a second and so on."""

    machine: str
    recipe: Mapping[str, Any]
    stages: Mapping[str, StageRates]

    def with_build(self, seconds_a_second: float) -> "Rates":
        """Return the same with another rate of build: seconds of a core for a second of sound."""
        build = replace(self.stages["build"], core_s=dict.fromkeys(self.stages["build"].core_s, seconds_a_second))
        return replace(self, stages={**self.stages, "build": build})

    def save(self, file: Path) -> None:
        """Write them as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> "Rates":
        """Return what `save` wrote. Raises UserError where there are none, or damaged ones."""
        if not file.is_file():
            raise UserError(f"there are no rates in {file}; `audio-tokens plan --calibrate 4000 --rates {file}`")
        try:
            found = checked(json_of(file.read_bytes()), FIELDS)
            stages = {name: StageRates(**checked(stage, STAGE)) for name, stage in found["stages"].items()}
        except (ValueError, TypeError) as error:
            raise UserError(f"{file} holds no rates ({' '.join(str(error).split())})") from None
        return cls(machine=found["machine"], recipe=found["recipe"], stages=stages)
