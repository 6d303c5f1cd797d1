"""What tokens lose: the points between a network on mel and those on decoded mel and on tokens, by k and by streams.

    python -m benchmarks.studies.discreteness

Reads order.jsonl (trials of order.py on arabic-commands, validation speakers, seed 0, no views) and writes
discreteness.svg beside it; prints the table. Each price is paired by speaker, its interval (95 %) theirs. One stream is
40 ms of all bands, two add 80 ms of all bands, six four ranges of bands.
"""

from collections.abc import Mapping
from typing import Any

from audio_tokens.shards.publish import publish_bytes
from benchmarks.studies.order import RESULTS, interval, results
from benchmarks.svg import blank, svg

MEL = "r-cnn"
# Of each reader: the trial by the size of a single codebook, and by the number of streams of 1,000 and 500 tokens.
READERS = {
    "decoded mel, raw-cnn": (
        {200: "r-cnn-decoded-k200", 1000: "r-cnn-decoded-4", 5000: "r-cnn-decoded-k5000"},
        {1: "r-cnn-decoded-4", 2: "r-cnn-decoded-4-8", 6: "r-cnn-decoded-all"},
    ),
    "tokens, token-lstm": (
        {200: "r-lstm-k200", 1000: "r-lstm-4", 5000: "r-lstm-k5000"},
        {1: "r-lstm-4", 2: "r-lstm-4-8", 6: "r-lstm-all"},
    ),
    "soft tokens, token-lstm": (
        {200: "r-lstm-k200-soft", 1000: "r-lstm-4-soft", 5000: "r-lstm-k5000-soft"},
        {1: "r-lstm-4-soft", 2: "d-lstm-contexts", 6: "d-lstm-all"},
    ),
    "soft tokens, token-bag": (
        {200: "r-bag-k200-soft", 1000: "r-bag-4-soft", 5000: "r-bag-k5000-soft"},
        {1: "r-bag-4-soft", 2: "c-4-8-soft", 6: "c-all-soft"},
    ),
}
TITLES = ("tokens in one stream", "streams")

Price = tuple[float, float, float]  # in points, and its interval


def prices(rows: Mapping[str, Mapping[str, float]]) -> dict[str, list[dict[int, Price]]]:
    """Return, of each reader, what it lacks by codebook size and by number of streams, given accuracies by speaker."""
    mel = rows[MEL]

    def price(name: str) -> Price:
        apart = [100 * (mel[speaker] - rows[name][speaker]) for speaker in mel]
        return sum(apart) / len(apart), *interval(apart)

    return {
        reader: [{size: price(name) for size, name in trials.items()} for trials in both]
        for reader, both in READERS.items()
    }


def table(found: Mapping[str, list[dict[int, Price]]]) -> str:
    """Return the prices in markdown."""
    head = [f"k={size}" for size in (200, 1000, 5000)] + [f"{count} streams" for count in (2, 6)]
    lines = [f"| points below mel | {' | '.join(head)} |", "|" + "---|" * (1 + len(head))]
    for reader, (by_size, by_streams) in found.items():
        cells = [*by_size.values(), *(each for count, each in by_streams.items() if count > 1)]
        told = (f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, low, high in cells)
        lines.append(f"| {reader} | {' | '.join(told)} |")
    return "\n".join(lines)


def plot(found: Mapping[str, list[dict[int, Price]]], accuracy: float) -> bytes:
    """Return the picture as SVG: points below mel, less further up, so that a line that rises gets better."""
    figure = blank(10, 4.5)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, (axes, title) in enumerate(zip(panels, TITLES, strict=True)):
        axes.axhline(0, color="black", linestyle="--", label=f"mel, raw-cnn: {100 * accuracy:.1f} %")
        for reader, both in found.items():
            values = list(both[panel].values())
            beyond = [[value - low for value, low, _ in values], [high - value for value, _, high in values]]
            axes.errorbar(
                list(both[panel]), [value for value, *_ in values], beyond, marker="o", capsize=3, label=reader
            )
        axes.set(xscale="log", xlabel=title, xticks=list(both[panel]))
        axes.set_xticks([], minor=True)
        axes.set_xticklabels([f"{size:,}" for size in both[panel]])
    panels[0].set(ylabel="accuracy below mel, points")
    panels[0].invert_yaxis()
    panels[1].legend()
    return svg(figure)


def main() -> None:
    rows: dict[str, dict[str, Any]] = {
        row["name"]: row for row in results() if (row["seed"], row["place"]) == (0, "val")
    }
    found = prices({name: row["speakers"] for name, row in rows.items()})
    publish_bytes(RESULTS.with_name("discreteness.svg"), plot(found, rows[MEL]["accuracy"]))
    print(table(found))


if __name__ == "__main__":
    main()
