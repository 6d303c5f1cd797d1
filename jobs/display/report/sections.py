"""The sections of a report as HTML, each from the facts it shows."""

import html
from collections.abc import Iterator, Sequence

import numpy as np

from audio_tokens.jobs.display.report import charts
from audio_tokens.jobs.display.report.facts import (
    ClipView,
    CodebookView,
    Confusion,
    Evidence,
    Interval,
    Judged,
    OrderView,
    Played,
    Report,
    Row,
    TokenView,
)
from audio_tokens.jobs.display.report.media import mel_png, sound_data, token_png

FIGURES = {
    "mAP": "mAP %",
    "accuracy": "accuracy %",
    "mAUC": "mAUC %",
    "dprime": "d&prime;",
    "peak_val_mAP": "val mAP %",
}


def leaderboard(report: Report) -> Iterator[str]:
    """One row a system and recipe, over all seeds and folds, and every run below it."""
    shown = [name for name in FIGURES if any(row.figures.get(name) is not None for row in report.rows)]
    heads = ["system", "recipe", *(FIGURES[name] for name in shown)]
    heads += [f"below best, {FIGURES[report.main]}", "p"] if len(report.rows) > 1 else []
    heads += ["clips (train)", "clips (test)", "parameters", "seconds"]
    rows = []
    for index, row in enumerate(report.rows):
        cells = [_word(row.system), _word(row.recipe)]
        cells += [_figure(row.figures.get(name), name, row.intervals.get(name)) for name in shown]
        cells += _less(row) if len(report.rows) > 1 else []
        cells += [_number(value) for value in (row.clips_train, row.clips_eval, row.parameters, round(row.seconds))]
        rows.append(("best" if index == 0 else "", cells))
    yield table(heads, rows, words=2)
    best = report.rows[0]
    over = f"{len(best.seeds)} seeds" if len(best.seeds) > 1 else f"seed {best.seeds[0]}"
    if best.folds:
        over += f" and {best.folds} folds, each tested once by models fitted on the others"
    yield (
        f"<p class=soft>Means over {over}. Brackets hold the 95&nbsp;% interval (bootstrap over the recordings or "
        "speakers that the tested clips are of, and over seeds); differences are paired, on the same clips, and p is "
        "the chance of one as large between equal systems. mAP is mean average precision: how well scores rank the "
        "clips of each label above the others. A model that knows "
        f"nothing has {100 * report.chance:.1f}&nbsp;%, the mean share of clips that have a label. mAUC is the mean "
        "area under the ROC curve (of that model 50&nbsp;%), d&prime; the same as a distance (0); val mAP was reached "
        "on the clips that choices were made on.</p>"
    )
    if sum(len(row.parts) for row in report.rows) > len(report.rows):
        yield "<details><summary>Every run: seeds and folds apart</summary>"
        parts = []
        for row in report.rows:
            for seed, fold, clips, mAP, accuracy in row.parts:
                cells = [_word(row.system), _word(row.recipe), f"<td>{seed}</td>", f"<td>{fold or ''}</td>"]
                cells += [_number(clips), _figure(mAP, "mAP", None), _figure(accuracy, "accuracy", None)]
                parts.append(("", cells))
        yield table(["system", "recipe", "seed", "fold", "clips (test)", "mAP %", "accuracy %"], parts, words=2)
        yield "</details>"


def curves(report: Report) -> Iterator[str]:
    """Learning curves of the systems that have epochs, the first run of each."""
    names = [row.name for row in report.rows]
    yield "<p class=soft>The first seed (and fold) of each system that is trained in epochs.</p>"
    yield charts.legend(names, {name for curves in report.curves.values() for name in curves})
    drawn = [charts.lines(curves, names, title) for title, curves in report.curves.items()]
    yield f"<div class=charts>{''.join(drawn)}</div>"
    missing = [name for name in names if not any(name in curves for curves in report.curves.values())]
    if missing:
        yield f"<p class=soft>Solved at once, without epochs: {html.escape('; '.join(missing))}.</p>"


def classes(report: Report) -> Iterator[str]:
    """Average precision a label: the number of positive clips, every system's dot, the best system's interval."""
    names = [row.name for row in report.rows]
    yield (
        "<p class=soft>Means over all runs in which the label has a positive clip; every heading sorts. The grey line "
        f"is the 95&nbsp;% interval of {html.escape(names[0])}, too narrow where a label has few clips.</p>"
    )
    yield charts.legend(names)
    rows = []
    for row in report.classes:
        lane = charts.dots(row.ap, names, row.interval)
        cells = [_word(row.label), _number(row.positives), _figure(row.ap.get(names[0]), "mAP", row.interval)]
        cells.append(f"<td data-v='{row.ap.get(names[0], '')}'>{lane}</td>")
        cells += [_figure(row.ap.get(name), "mAP", None) for name in names[1:]]
        rows.append(("", cells))
    heads = ["label", "positive clips", f"{names[0]} %", "0 &ndash; 100 %", *(f"{name} %" for name in names[1:])]
    yield table(heads, rows, words=1)


def order(report: Report, view: OrderView) -> Iterator[str]:
    """What reading order gives each label beside the bag, and the parts of some clips that it comes from."""
    sequence, bag = html.escape(view.sequence), html.escape(view.bag)
    yield (
        f"<p class=soft>{bag} counts a clip's tokens and knows nothing of their order; {sequence} reads them in order, "
        "from the same codebook. Average precision of each label by both, and the difference. (That it is order, and "
        "not just another kind of model, shows where the same model learns from shuffled tokens.)</p>"
    )
    rows = [(gain, row) for row in report.classes if (gain := row.gain(view.sequence, view.bag)) is not None]
    cells = [
        (
            "",
            [
                _word(row.label),
                _number(row.positives),
                _figure(row.ap[view.bag], "mAP", None),
                _figure(row.ap[view.sequence], "mAP", None),
                f"<td data-v='{gain}'>{100 * gain:+.1f}</td>",
            ],
        )
        for gain, row in sorted(rows, key=lambda pair: (-pair[0], pair[1].label))
    ]
    yield table(["label", "positive clips", f"{bag} %", f"{sequence} %", "gain, points"], cells, words=1)
    if view.evidence:
        yield (
            "<p class=soft>Of the labels that gain most, the clip that gains most. Below the mel and the tokens (equal "
            f"colour, equal token): how much the label's log odds by {sequence} fall where the tokens around a moment "
            "are cut out. Above the line they speak for the label, below it against it.</p>"
        )
    for found in view.evidence:
        yield from _evidence(found, view)


def _evidence(found: Evidence, view: OrderView) -> Iterator[str]:
    low, high = float(found.mel_TF.min()), float(found.mel_TF.max())
    yield f"<div class=view><h3>{html.escape(found.label)}</h3>{_stack(found.seconds)}"
    yield f"<img alt='mel of the clip' src='{mel_png(found.mel_TF, low, high)}'>"
    for stream, ids_P in enumerate(found.ids_PQ.T, start=1):
        yield f"<img class=strip alt='tokens of stream {stream}' src='{token_png(ids_P)}'>"
    yield charts.evidence(found.seconds, found.starts_s_W, found.part_s, found.adds_W)
    yield f"<div class=cursor></div></div>{_audio(found.judged.sound, 'the clip')}"
    yield (
        f"<p class=soft>{html.escape(found.judged.key)}: {100 * found.sequence:.0f}&nbsp;% by "
        f"{html.escape(view.sequence)}, {100 * found.bag:.0f}&nbsp;% by {html.escape(view.bag)}; the part that says "
        f"most adds {found.adds_W.max(initial=0):.2f} to the log odds.</p></div>"
    )


def _stack(seconds: float) -> str:
    return (
        f"<div class=stack tabindex=0 role=slider aria-label='position in the clip' aria-valuemin=0 aria-valuenow=0 "
        f"aria-valuemax={seconds:.2f} data-seconds={seconds:.4f}>"
    )


def confusions(report: Report) -> Iterator[str]:
    """A matrix a system, the best one open, and the pairs most mistaken."""
    yield (
        "<p class=soft>Rows are labels of the tested clips; a column is the highest-ranked label outside a clip's own, "
        "where it outranks the row's. The diagonal counts the clips where nothing wrong did.</p>"
    )
    for index, confusion in enumerate(report.confusions):
        yield f"<details{' open' if index == 0 else ''}><summary>{html.escape(confusion.name)}</summary>"
        pairs = confusion.pairs(12)
        rows = [
            ("", [_word(a), _word(b), _number(times), _number(total), _figure(times / total, "mAP", None)])
            for a, b, times, total in pairs
        ]
        yield table(["label", "outranked by", "clips", "of", "%"], rows, words=2) if rows else "<p>No mistake.</p>"
        yield _matrix(confusion)
        yield "</details>"


def _matrix(confusion: Confusion, most: int = 60) -> str:
    totals_L = confusion.counts_LL.sum(axis=1)
    wrong_L = totals_L - np.diag(confusion.counts_LL)
    kept = np.sort(np.argsort(-wrong_L, kind="stable")[:most])
    note = f"<p class=soft>The {most} labels most mistaken of {len(totals_L)}.</p>" if len(totals_L) > most else ""
    heads = "".join(f"<th class=up scope=col>{html.escape(confusion.labels[j])}</th>" for j in kept)
    rows = []
    wrong_LL = confusion.counts_LL * (1 - np.eye(len(totals_L))) / np.maximum(totals_L, 1)[:, None]
    most_wrong = float(wrong_LL.max()) or 1.0
    for i in kept:
        cells = []
        for j in kept:
            count = int(confusion.counts_LL[i, j])
            share = count / max(1, totals_L[i])
            title = f"{confusion.labels[i]} / {confusion.labels[j]}: {count} of {totals_L[i]}"
            shade = f"128,128,128,{0.45 * share:.2f}" if i == j else f"var(--heat),{0.5 * share / most_wrong:.2f}"
            cells.append(f"<td title='{html.escape(title)}' style='background:rgba({shade})'>{count or ''}</td>")
        rows.append(f"<tr><th class=word scope=row>{html.escape(confusion.labels[i])}</th>{''.join(cells)}</tr>")
    body = f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return (
        f"{note}<div class=scroll tabindex=0 role=region aria-label='confusion matrix'>"
        f"<table class=matrix>{body}</table></div>"
    )


def worst(report: Report) -> Iterator[str]:
    """The tested clips with the highest loss by the best system."""
    yield (
        f"<p class=soft>The tested clips on which {html.escape(report.rows[0].name)} has the highest loss, worst "
        "first: what they are, and what it said.</p>"
    )
    yield f"<div class=cards>{''.join(_judged(clip) for clip in report.worst)}</div>"


def _judged(clip: Judged) -> str:
    return f"<div class=card>{_words(clip)}{_audio(clip.sound, 'the clip')}</div>"


def _words(clip: Judged) -> str:
    said = ", ".join(f"{html.escape(label)} {100 * score:.0f}&nbsp;%" for label, score in clip.said)
    return (
        f"<div><b>{html.escape(', '.join(clip.labels) or 'no label')}</b></div><div>said: {said}</div>"
        f"<div class=soft>{html.escape(clip.key)}, loss {clip.loss:.2f}</div>"
    )


def clips(report: Report) -> Iterator[str]:
    """Clips through the tokens: waveform, mel, decoded mel, token strip, both sounds, one cursor."""
    yield (
        "<p class=soft>From above: waveform, mel, the mel that the tokens give back (at the clip's own level), the "
        "tokens (equal colour, equal token), and the probability of labels, from 0 below to 100&nbsp;% above, by "
        f"{html.escape(report.rows[0].name)}, given only a quarter of the clip around each moment (it was trained on "
        "whole clips). Click, or focus and use the arrow keys, to move the cursor; space plays. Clips are from the "
        "worst to the best.</p>"
    )
    for view in report.clips:
        yield from _clip(view)


def _clip(view: ClipView) -> Iterator[str]:
    low, high = float(view.mel_TF.min()), float(view.mel_TF.max())
    sound = view.judged.sound
    yield f"<div class=view><h3>{html.escape(', '.join(view.judged.labels) or view.judged.key)}</h3>"
    yield _stack(view.seconds)
    if sound is not None:
        yield charts.waveform(sound.wave_S)
    yield f"<img alt='mel of the clip' src='{mel_png(view.mel_TF, low, high)}'>"
    yield f"<img alt='mel decoded from its tokens' src='{mel_png(view.decoded_TF, low, high)}'>"
    for stream, ids_P in enumerate(view.ids_PQ.T, start=1):
        yield f"<img class=strip alt='tokens of stream {stream}' src='{token_png(ids_P)}'>"
    over = view.over_time
    yield charts.over_time(view.seconds, over.starts_s_W, over.part_s, over.scores)
    yield f"<div class=cursor></div></div>{charts.legend(list(over.scores))}<div class=two>"
    yield f"<div>the clip{_audio(sound, 'the clip')}</div><div>its tokens{_audio(view.resynthesis, 'the tokens')}</div>"
    said = ", ".join(f"{html.escape(label)} {100 * score:.0f}&nbsp;%" for label, score in view.judged.said)
    yield (
        f"</div><p class=soft>{html.escape(view.judged.key)}; said: {said}. Mel error {view.error_db:.1f} dB; "
        f"{view.simple_error_db:.1f} dB by tokens of single frames (recipe seed), {view.random_error_db:.1f} dB with "
        "tokens drawn at random.</p></div>"
    )


def codebook(view: CodebookView) -> Iterator[str]:
    """The tokens of one stream: how they are used, and the most used ones, by pitch."""
    yield f"<h3>{html.escape(view.name)}</h3>"
    yield (
        f"<p class=soft>{view.used:,} of {view.tokens:,} tokens used, as varied as {view.perplexity:,.0f} equally "
        f"likely ones. Below, the {len(view.shown)} most used: mel patch (bands upwards, frames to the right), how "
        "often it was used in fitting, the labels it stands out in (in their clips &times;N times as often as in all), "
        "and the snippets of sound nearest to it.</p>"
    )
    yield charts.rank_frequency(view.usage_K)
    yield (
        "<p class=order>Order: <button data-order=pitch aria-pressed=true>from low to high</button> "
        "<button data-order=use aria-pressed=false>by use</button></p>"
    )
    low, high = np.percentile([token.patch_TF for token in view.shown], [1, 99])
    yield f"<div class=tokens>{''.join(_token(token, float(low), float(high)) for token in view.shown)}</div>"


def _token(token: TokenView, low: float, high: float) -> str:
    plays = "".join(
        f"<button data-sound='{sound_data(sound)}' aria-label='play snippet {number} of token {token.token}'>"
        f"&#9654; {number}</button>"
        for number, sound in enumerate(token.snippets, start=1)
    )
    labels = "<br>".join(f"{html.escape(label)} &times;{lift:.1f}" for label, lift in token.labels)
    return (
        f"<div class=card data-pitch={token.centre_band:.4f} data-use={-token.usage}>"
        f"<img alt='mel patch of token {token.token}' src='{mel_png(token.patch_TF, low, high)}'>"
        f"<div><b>{token.token}</b> <span class=soft>{token.usage:,} times</span></div>{labels}<div>{plays}</div></div>"
    )


def rejects(report: Report) -> Iterator[str]:
    """Why clips were left out, with one of each kind."""
    if not report.rejects:
        yield "<p>None: every clip that was listed was built.</p>"
        return
    rows = [("", [_word(reason), _number(count), _word(one)]) for reason, (count, one) in report.rejects.items()]
    yield table(["reason", "clips", "one of them"], rows, words=1)


def settings(report: Report) -> Iterator[str]:
    """The command, the configuration of every system, and when each part was made."""
    yield f"<pre tabindex=0>{html.escape(report.command)}</pre>"
    yield "<p class=soft>Options that the line gave over its recipe are among those below.</p>"
    for name, text in report.settings.items():
        yield f"<details><summary>{html.escape(name)}</summary><pre tabindex=0>{html.escape(text)}</pre></details>"
    rows = [("", [_word(part), _word(when)]) for part, when in report.dates.items()]
    yield table(["part", "made (UTC)"], rows, words=2)


def table(heads: Sequence[str], rows: Sequence[tuple[str, list[str]]], words: int) -> str:
    """Return a table that its headings sort; `rows` are (class, cells), the first `words` columns hold words."""
    head = "".join(
        f"<th scope=col{' class=word' if column < words else ''}><button>{title}</button></th>"
        for column, title in enumerate(heads)
    )
    body = "".join(f"<tr{f' class={kind}' if kind else ''}>{''.join(cells)}</tr>" for kind, cells in rows)
    return (
        "<div class=scroll tabindex=0 role=region aria-label=table>"
        f"<table class=sorts><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _audio(sound: Played | None, name: str) -> str:
    if sound is None:
        return "<div class=soft>no sound: the source was not found, or is not read again</div>"
    return f"<audio controls preload=none aria-label='{name}' src='{sound_data(sound)}'></audio>"


def _less(row: Row) -> list[str]:
    if row.less is None:
        return ["<td></td><td></td>"]
    value, (low, high), p = row.less
    span = f"<span class=interval>[{100 * low:.1f}, {100 * high:.1f}]</span>"
    return [f"<td data-v='{value}'>{100 * value:.1f} {span}</td><td>{p:.3f}</td>"]


def _word(text: str) -> str:
    return f"<td class=word>{html.escape(text)}</td>"


def _number(value: int) -> str:
    return f"<td data-v='{value}'>{value:,}</td>"


def _figure(value: float | None, name: str, interval: Interval | None) -> str:
    if value is None:
        return "<td>&ndash;</td>"
    scale = 1 if name == "dprime" else 100
    digits = 2 if name == "dprime" else 1
    span = ""
    if interval is not None:
        span = f" <span class=interval>[{scale * interval[0]:.{digits}f}, {scale * interval[1]:.{digits}f}]</span>"
    return f"<td data-v='{value}'>{scale * value:.{digits}f}{span}</td>"
