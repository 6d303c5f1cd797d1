"""A report as one page that holds its pictures, sounds, style and script, and loads nothing from a network."""

import html
from collections.abc import Iterator
from importlib import resources

from audio_tokens.jobs.display.report import sections
from audio_tokens.jobs.display.report.facts import Report


def page(report: Report) -> str:
    """Return the page."""
    return "\n".join(_parts(report))


def _parts(report: Report) -> Iterator[str]:
    files = resources.files(__package__)
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>audio-tokens: {html.escape(report.title)}</title>"
    yield "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href='data:,'>"
    yield f"<style>{(files / 'page.css').read_text()}</style>"
    yield f"<body><h1>audio-tokens: {html.escape(report.title)}</h1>"
    clips = ", ".join(f"{place} {count:,}" for place, count in report.places.items())
    yield (
        f"<p class=soft>{html.escape(report.source)}: {sum(report.places.values()):,} clips ({html.escape(clips)}), "
        f"{report.labels} labels.</p>"
    )
    shown = {title: part for title, part in _sections(report).items() if part is not None}
    links = (f"<a href='#{_anchor(title)}'>{title}</a>" for title in shown)
    yield f"<nav aria-label='parts of this page'>{''.join(links)}</nav>"
    for note in report.notes:
        yield f"<p>{html.escape(note)}</p>"
    yield "<main>"
    for title, part in shown.items():
        yield f"<section id='{_anchor(title)}'><h2>{title}</h2>"
        yield from part
        yield "</section>"
    yield f"</main><script>{(files / 'page.js').read_text()}</script></body></html>"


def _sections(report: Report) -> dict[str, Iterator[str] | None]:
    codebooks = (part for view in report.codebooks for part in sections.codebook(view))
    return {
        "Leaderboard": sections.leaderboard(report),
        "Learning curves": sections.curves(report) if any(report.curves.values()) else None,
        "Labels": sections.classes(report),
        "Order": sections.order(report, report.order) if report.order else None,
        "Confusions": sections.confusions(report) if report.confusions else None,
        "Worst clips": sections.worst(report) if report.worst else None,
        "Clips through tokens": sections.clips(report) if report.clips else None,
        "Codebook": codebooks if report.codebooks else None,
        "Rejects": sections.rejects(report),
        "How it was made": sections.settings(report),
    }


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
