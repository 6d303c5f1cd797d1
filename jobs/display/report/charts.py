"""Charts as SVG that follows the page's colours and width. No script, no library."""

import html
import math
from collections.abc import Container, Mapping, Sequence

import numpy as np

COLOURS = 8  # --c0 .. --c7 of page.css


def colour(index: int) -> str:
    """Return the colour of the system number `index`, the same in every chart of a page."""
    return f"var(--c{index % COLOURS})"


def legend(names: Sequence[str], drawn: Container[str] | None = None) -> str:
    """Return which colour is whose, of all `names` or of those that are `drawn`."""
    spans = [
        f"<span><i style='background:{colour(i)}'></i>{html.escape(name)}</span>"
        for i, name in enumerate(names)
        if drawn is None or name in drawn
    ]
    return f"<div class=legend>{''.join(spans)}</div>"


def lines(curves: Mapping[str, Sequence[tuple[float, float]]], names: Sequence[str], title: str) -> str:
    """Return curves {name: [(epoch, value), ...]}, coloured by the place of each name in `names`."""
    points = [point for curve in curves.values() for point in curve]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high, first, last = min(ys), max(ys), min(xs), max(xs)
    margin = 0.05 * (high - low or 1)
    low, high = low - margin, high + margin

    def at(x: float, y: float) -> str:
        return f"{46 + 440 * (x - first) / (last - first or 1):.1f},{190 - 170 * (y - low) / (high - low):.1f}"

    parts = [f"<svg viewBox='0 0 500 220' role=img aria-label='{html.escape(title)}'>"]
    for tick in ticks(low, high):
        _, y = at(first, tick).split(",")
        parts.append(f"<line class=axis x1=46 x2=486 y1={y} y2={y} /><text x=40 y={y} text-anchor=end>{tick:g}</text>")
    for tick in sorted({round(t) for t in ticks(first, last)}):
        x, _ = at(tick, low).split(",")
        parts.append(f"<text x={x} y=208 text-anchor=middle>{tick}</text>")
    for name, curve in curves.items():
        path = " ".join(at(x, y) for x, y in curve)
        parts.append(
            f"<polyline points='{path}' fill=none stroke='{colour(names.index(name))}' stroke-width=2>"
            f"<title>{html.escape(name)}</title></polyline>"
        )
    parts.append(f"<text x=46 y=12>{html.escape(title)}</text></svg>")
    return "".join(parts)


def dots(values: Mapping[str, float], names: Sequence[str], interval: tuple[float, float] | None) -> str:
    """Return values 0..1 as dots on a line, each system on a lane of its own, so that none hides another."""
    height = 4 + 6 * len(names)
    parts = [f"<svg viewBox='0 0 224 {height}' width=224 height={height} role=img aria-label='average precision'>"]
    parts += [f"<line class=axis x1={12 + 200 * t:g} x2={12 + 200 * t:g} y1=0 y2={height} />" for t in (0, 0.5, 1)]
    if interval:
        low, high = (12 + 200 * bound for bound in interval)
        parts.append(f"<line class=span x1={low:.1f} x2={high:.1f} y1=5 y2=5 opacity=.6 />")
    for lane, name in enumerate(names):
        if name in values:
            parts.append(
                f"<circle cx={12 + 200 * values[name]:.1f} cy={5 + 6 * lane} r=2.9 fill='{colour(lane)}'>"
                f"<title>{html.escape(name)}: {100 * values[name]:.1f} %</title></circle>"
            )
    return "".join(parts) + "</svg>"


def waveform(wave_S: np.ndarray, columns: int = 600) -> str:
    """Return the extremes of a wave, column by column, as one filled shape over the full width."""
    edges = np.linspace(0, len(wave_S), min(columns, len(wave_S)) + 1).astype(int)[:-1]
    high, low = np.maximum.reduceat(wave_S, edges), np.minimum.reduceat(wave_S, edges)
    peak = float(np.abs(wave_S).max()) or 1.0
    above = [f"{x},{50 - 48 * y / peak:.1f}" for x, y in enumerate(high)]
    below = [f"{x},{50.5 - 48 * y / peak:.1f}" for x, y in enumerate(low)][::-1]
    return (
        f"<svg viewBox='0 0 {len(edges)} 100' preserveAspectRatio=none role=img aria-label=waveform>"
        f"<path d='M{' L'.join([*above, *below])}Z' /></svg>"
    )


def over_time(seconds: float, starts_s_W: np.ndarray, part_s: float, scores: Mapping[str, np.ndarray]) -> str:
    """Return probabilities 0..1 over the full width of a clip, a line a label, each value at the middle of its part."""
    middles_W = (100 * (starts_s_W + part_s / 2) / seconds).tolist()
    parts = [
        "<svg class=lines viewBox='0 0 100 100' preserveAspectRatio=none role=img aria-label='probability over time'>"
    ]
    for index, (label, scores_W) in enumerate(scores.items()):
        points = " ".join(f"{x:.2f},{96 - 92 * y:.1f}" for x, y in zip(middles_W, scores_W.tolist(), strict=True))
        parts.append(
            f"<polyline points='{points}' fill=none stroke='{colour(index)}' stroke-width=2 "
            f"vector-effect=non-scaling-stroke><title>{html.escape(label)}</title></polyline>"
        )
    return "".join(parts) + "</svg>"


def evidence(seconds: float, starts_s_W: np.ndarray, part_s: float, adds_W: np.ndarray) -> str:
    """Return what parts of a clip add as a shape around a line, over the full width, each at the part's middle."""
    middles_W = (100 * (starts_s_W + part_s / 2) / seconds).tolist()
    most = float(np.abs(adds_W).max(initial=0)) or 1.0
    points = [f"{x:.2f},{50 - 46 * y / most:.1f}" for x, y in zip(middles_W, adds_W.tolist(), strict=True)]
    ends = f"{middles_W[0]:.2f},50 {' '.join(points)} {middles_W[-1]:.2f},50" if points else ""
    return (
        "<svg class=lines viewBox='0 0 100 100' preserveAspectRatio=none role=img "
        f"aria-label='what each part adds'><line class=axis x1=0 x2=100 y1=50 y2=50 />"
        f"<polygon points='{ends}' fill='{colour(0)}' /></svg>"
    )


def rank_frequency(usage_K: np.ndarray) -> str:
    """Return how often tokens were used against their rank, both on log axes: a straight line would be Zipf's law."""
    used = np.sort(usage_K[usage_K > 0])[::-1].astype(float)
    ranks = np.unique(np.geomspace(1, len(used), min(80, len(used))).astype(int))
    wide, high = math.log10(max(len(used), 2)), math.log10(used[0] + 1)
    points = " ".join(
        f"{46 + 330 * math.log10(rank) / wide:.1f},{150 - 130 * math.log10(used[rank - 1]) / high:.1f}"
        for rank in ranks.tolist()
    )
    parts = ["<svg viewBox='0 0 390 180' style='max-width:26rem' role=img aria-label='use of tokens by rank'>"]
    for power in range(int(high) + 1):
        y = 150 - 130 * power / high
        parts.append(
            f"<line class=axis x1=46 x2=376 y1={y:.1f} y2={y:.1f} />"
            f"<text x=40 y={y:.1f} text-anchor=end>{10**power:,}</text>"
        )
    for power in range(int(wide) + 1):
        parts.append(f"<text x={46 + 330 * power / wide:.1f} y=168 text-anchor=middle>{10**power:,}</text>")
    parts.append(f"<polyline points='{points}' fill=none stroke='{colour(0)}' stroke-width=2 />")
    return "".join(parts) + "<text x=46 y=12>times used, by rank</text></svg>"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers between `low` and `high`, about so many."""
    step = 10 ** math.floor(math.log10((high - low or 1) / about))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low or 1) / (step * factor) <= about)
    return [round(step * i, 10) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
