"""The bill of a data set: what each stage takes in hours, cores, bytes, memory and money, and what binds it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audio_tokens.jobs.bill.stage_rates import Rates
from audio_tokens.jobs.bill.work import Work


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What is at hand and what it costs: cores, MB/s that the disk gives all of them together, money."""

    cores: int
    disk_mb_s: float
    price_core_h: float


@dataclass(frozen=True, kw_only=True)
class Item:
    """A stage; with more than `most_cores` the disk binds, and `memory_gb` is what one process holds."""

    stage: str
    core_hours: float
    hours: float
    read_gb: float
    written_gb: float
    memory_gb: float
    binds: str
    most_cores: int
    price: float


def bill(rates: Rates, work: Work, terms: Terms, sound_bytes_s: float) -> list[Item]:
    """Return an item a stage that there are rates of. `sound_bytes_s` are bytes of the files for a second of sound."""
    units = {stage: work.units(stage) for stage in rates.stages}
    written = {stage: own.written(units[stage]) for stage, own in rates.stages.items()}
    reads = {"build": work.clips * work.clip_s * sound_bytes_s}
    reads |= dict.fromkeys(("cluster", "encode"), written["build"])  # cluster once: most readings are of a drawn part
    items = []
    for stage, own in rates.stages.items():
        growing_s, read = own.seconds(units[stage]), reads.get(stage, written["encode"])
        cores_s, disk_s = own.fixed_s + growing_s / terms.cores, (read + written[stage]) / (terms.disk_mb_s * 1e6)
        items.append(
            Item(
                stage=stage,
                core_hours=(own.fixed_s + growing_s) / 3600,
                hours=max(cores_s, disk_s) / 3600,
                read_gb=read / 1e9,
                written_gb=written[stage] / 1e9,
                memory_gb=own.fixed_gb + own.gb * work.clips,
                binds="disk" if disk_s > cores_s else "cores",
                most_cores=max(1, round(growing_s / disk_s)),
                price=(own.fixed_s + growing_s) / 3600 * terms.price_core_h,
            )
        )
    return items


def table(items: Sequence[Item], *, priced: bool) -> Iterator[str]:
    """Yield the bill as lines, the sum of all last."""
    heads = ["stage", "core hours", "hours", "reads GB", "writes GB", "GB a process", "binds", "pays up to"]
    rows = [
        [
            item.stage,
            f"{item.core_hours:,.2f}",
            f"{item.hours:,.2f}",
            f"{item.read_gb:,.1f}",
            f"{item.written_gb:,.1f}",
            f"{item.memory_gb:,.1f}",
            item.binds,
            f"{item.most_cores:,} cores",
            *([f"{item.price:,.2f}"] if priced else []),
        ]
        for item in items
    ]
    total = ["all", f"{sum(i.core_hours for i in items):,.2f}", f"{sum(i.hours for i in items):,.2f}", *[""] * 5]
    rows.append(total + ([f"{sum(item.price for item in items):,.2f}"] if priced else []))
    heads += ["price"] if priced else []
    widths = [max(len(line[column]) for line in [heads, *rows]) for column in range(len(heads))]
    for line in [heads, *rows]:
        cells = [
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
