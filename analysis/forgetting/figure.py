"""How forgetting looks: the accuracy matrix with the answers behind a cell beside it, its course, its numbers."""

import json
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, RIGHT, SERIES, WRONG, figure, mark, said
from analysis.statistics import Estimate
from analysis.table import SCROLL, Head, Table
from analysis.wording import between, number, percent, plural, points

if TYPE_CHECKING:
    from analysis.forgetting.measure import Answer, Forgetting, Shown

FATES = {"kept": RIGHT, "superficial": SERIES[5], "essential": WRONG}
"""The colour of what became of right answers (``split.result.PARTS``)."""

MEANS = {
    "kept": "Right after its own task, and right now.",
    "superficial": "Wrong now and in another form than asked, but as a choice among options the true one is likeliest.",
    "essential": "Wrong now: in the asked form, or in another with the true option not the likeliest.",
}
CARDS, MORE = 4, 8
"""Items shown at first behind a cell, and how many more at a time."""

_SCALE = [[0, "rgba(0,114,178,0.05)"], [1, IMAGE]]


def beside(table: str, cards: str, ident: str) -> str:
    """A table of buttons with what is behind the chosen one beside it; on a phone below it, as ``ident``."""
    return f'<div class="beside"><div>{table}</div><div id="{ident}">{cards}</div></div>'


def button(text: str, shade: float, chooses: dict, label: str, chosen: bool, css: str = "", to: str = "") -> str:
    """A cell of a table that sets the controls ``chooses`` and scrolls to view ``to``; ``shade`` 0 to 1 colours it."""
    css = " ".join(filter(None, (css, "chosen" if chosen else "")))
    return (
        f'<td><button type="button" class="{css}" style="--a:{shade:.2f}" '
        f'{_set(chooses)} data-to="{to}" aria-pressed="{str(chosen).lower()}" '
        f'aria-label="{escape(label)}" title="{escape(label)}">{text}</button></td>'
    )


def _set(chooses: dict) -> str:
    return f'data-set="{escape(json.dumps(chooses))}"'


def matrix(found: "Forgetting", chosen: tuple[int, int] | None = None) -> str:
    """The accuracy matrix as a table of buttons that choose ``row`` and ``column``; ``chosen`` is marked."""
    same = len(set(found.n)) == 1
    head = "".join(
        f'<th scope="col">{escape(t)}{"" if same else f"<small>n = {n}</small>"}</th>'
        for t, n in zip(found.tasks, found.n, strict=True)
    )
    rows = []
    for i in range(len(found.checkpoints)):
        cells = "".join(_cell(found, i, j, chosen == (i, j)) for j in range(len(found.tasks)))
        css = "" if i in found.own or i == 0 else ' class="reference"'
        rows.append(f'<tr{css}><th scope="row">{escape(found.label(i))}</th>{cells}</tr>')
    items = f"n = {found.n[0]} items of each task, " if same else ""
    return (
        f'{SCROLL}<table class="matrix" aria-describedby="matrix-key">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="key" id="matrix-key">Accuracy in % ({items}one training run). Outlined: right after its own '
        "training. Click a cell for its answers.</p>"
    )


def _cell(found: "Forgetting", i: int, j: int, chosen: bool) -> str:
    of = found.cell(i, j)
    if not of.known:
        return "<td>–</td>"
    label = (
        f"{found.label(i)}, {found.tasks[j]}: {percent(of.value)}, 95 % interval {percent(of.low)} to "
        f"{percent(of.high)}, n = {of.n}"
    )
    chooses = {"row": str(i), "column": str(j), "cards": str(CARDS)}
    own = "own" if found.own[j] == i else ""
    return button(number(100 * of.value), of.value, chooses, label, chosen, own, "items")


def heat_map(found: "Forgetting") -> go.Figure:
    """The accuracy matrix as a chart, for a page of its own. In per cent."""
    text = [[number(100 * v) for v in row] for row in found.matrix]
    names = [f"{t} (n = {n})" for t, n in zip(found.tasks, found.n, strict=True)]
    rows = [found.label(i) for i in range(len(found.checkpoints))]
    heat = go.Heatmap(
        z=np.round(100 * found.matrix, 1),
        x=names,
        y=rows,
        text=text,
        texttemplate="%{text}",
        zmin=0,
        zmax=100,
        colorscale=_SCALE,
        colorbar={"title": "Accuracy, %"},
        xgap=2,
        ygap=2,
        hovertemplate="%{y}, %{x}: %{z} %<extra></extra>",
    )
    axes = {"xaxis": {"title": "Task", "showgrid": False}, "yaxis": {"title": "Checkpoint", "autorange": "reversed"}}
    return figure(140 + 44 * len(rows), heat, **axes)


def course(found: "Forgetting") -> go.Figure:
    """Accuracy on each task as training goes on, in per cent; the large marker is the task's own training."""
    rows = [0, *found.own]
    x = ["base", *(f"after<br>{found.checkpoints[i]}" for i in found.own)]
    lines = []
    for j, task in enumerate(found.tasks):
        own = rows.index(found.own[j])
        lines.append(
            go.Scatter(
                x=x,
                y=100 * found.matrix[rows, j],
                name=task,
                mode="lines+markers",
                line={"color": SERIES[j % len(SERIES)], "width": 2.5, "dash": DASHES[j % len(DASHES)]},
                marker={"size": [13 if i == own else 6 for i in range(len(rows))]},
                customdata=100 * np.stack([found.low[rows, j], found.high[rows, j]], 1),
                hovertemplate="%{y:.0f} % (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})",
            )
        )
    return figure(
        350,
        *lines,
        hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 64, "b": 8},
        xaxis={"title": "Checkpoint, in the order of training"},
        yaxis={"title": "Accuracy, %", "range": [-3, 103]},
    )


def numbers(found: "Forgetting") -> str:
    """The field's summary numbers in plain words with their intervals, and what became of what was right."""
    learnt, kept, on_the_way, changed, helped = (found.number(name) for name in ("mft", "mfn", "maa", "bwt", "fwt"))
    arrow = f"{number(100 * learnt.value)} → {number(100 * kept.value)} %"
    tiles = (
        (
            "Learnt → kept",
            arrow,
            f"MFT {_spanned(learnt)}<br>MFN {_spanned(kept)}",
            "Mean accuracy of each task right after its own training (mean fine-tune accuracy), and of all tasks after "
            "the last one (mean final accuracy).",
        ),
        (
            "Earlier tasks changed by",
            points(changed.value),
            f"BWT {_spanned(changed, True)}",
            "Backward transfer: what later tasks changed of earlier ones, on average. Negative is forgetting.",
        ),
        (
            "New tasks helped by",
            points(helped.value),
            f"FWT {_spanned(helped, True)}",
            "Forward transfer: a task's accuracy just before its own training, minus the base's, on average.",
        ),
        (
            "Mean on the way",
            percent(on_the_way.value),
            f"MAA {_spanned(on_the_way)}",
            "Mean average accuracy: after each task, the mean over the tasks seen so far; then the mean of those.",
        ),
    )
    told = "".join(
        f'<div><dt><dfn class="term" tabindex="0">{name}<span role="tooltip">{why}</span></dfn></dt>'
        f"<dd>{value}<small>{below}</small></dd></div>"
        for name, value, below, why in tiles
    )
    return f'<dl class="numbers">{told}</dl>{fate(found.became) if len(found.tasks) > 1 else ""}'


def _spanned(of: Estimate, sign: bool = False) -> str:
    known = of.known and not math.isnan(of.low)
    return f"{number(100 * of.value, 0, sign)} ({between(of, 0, sign)})" if known else "–"


def fate(became: dict[str, Estimate]) -> str:
    """What became of the answers that were right after their own task, as one bar with the shares written below."""
    if not became:
        return '<p class="key">Lost or only the form: not asked again yet, see the next section.</p>'
    n = next(iter(became.values())).n
    known = {part: of for part, of in became.items() if of.known}
    bars = "".join(
        f'<i style="width:{100 * of.value:.1f}%;background:{FATES[part]}"></i>' for part, of in known.items()
    )
    told = " ".join(
        f'<dfn class="term" tabindex="0"><i style="background:{FATES[part]}"></i>{part} {_share(of)}'
        f'<span role="tooltip">{escape(MEANS[part])}</span></dfn>'
        for part, of in became.items()
    )
    return (
        f'<div class="fate"><p class="key">Of {plural(n, "answer")} right after their own task, at the end:</p>'
        f'<div aria-hidden="true">{bars}</div><p>{told} <button type="button" data-go="forgetting/split">by task →'
        "</button></p></div>"
    )


def _share(of: Estimate) -> str:
    return f"{percent(of.value)} ({between(of)})" if of.known else "–"


def by_task(found: "Forgetting") -> str:
    """Forgetting task by task, and how much of it was form alone."""
    best = "Best accuracy since its own training, minus the accuracy at the end."
    rows = (
        [Head("Forgetting", best, unit="points", digits=0), *map(found.lost, range(len(found.tasks)))],
        [Head("Superficial", MEANS["superficial"], unit="% of items", digits=0), *found.superficial],
        [Head("Essential", MEANS["essential"], unit="% of items", digits=0), *found.essential],
    )
    return Table(["", *found.tasks], rows).html()


def items(shown: "Sequence[Shown]", uris: Sequence[str | None], cell: str, labels: tuple[str, str], total: int) -> str:
    """The first items of ``cell``, of ``total``: picture, question, truth, and two answers beside each other.

    ``labels`` say whose the answers are, that right after the task's own training and that of the chosen checkpoint;
    where they are the same, one is shown.
    """
    cards = []
    for item, uri in zip(shown, uris, strict=True):
        answers = dict(zip(labels, (item.then, item.now), strict=True))
        told = "".join(_answer(label, answer) for label, answer in answers.items())
        cards.append(card(uri, item.question, item.truth, item.style, f'<div class="answers">{told}</div>'))
    return listing(cards, cell, total)


def card(uri: str | None, question: str, truth: str, style: str, inner: str) -> str:
    """One item: its picture, its question, the truth in the asked form, and ``inner`` (HTML)."""
    picture = f'<img src="{uri}" alt="">' if uri else '<div class="none">text only</div>'
    return (
        f"<li>{picture}<div><p>{escape(question)}</p><p><small>truth</small> <b>{escape(truth)}</b> "
        f'<span class="kind">{escape(style)}</span></p>{inner}</div></li>'
    )


def listing(cards: Sequence[str], where: str, total: int) -> str:
    """Cards below what they are of, with a button for more of the ``total``."""
    if not cards:
        return f'<p class="key">{escape(where)}: no answer here.</p>'
    more = ""
    if len(cards) < total:
        ahead = min(MORE, total - len(cards))
        more = f'<button type="button" {_set({"cards": str(len(cards) + ahead)})}>{ahead} more</button>'
    return (
        f'<p class="key" aria-live="polite"><b>{escape(where)}</b>, {len(cards)} of {total}</p>'
        f'<ul class="items then">{"".join(cards)}</ul>{more}'
    )


def _answer(label: str, answer: "Answer | None") -> str:
    if answer is None:
        return f"<p><small>{escape(label)}</small><i>not measured</i></p>"
    return (
        f"<p><small>{escape(label)}</small><b>{said(answer.given)}</b>"
        f'<span><span class="kind">{escape(answer.style)}</span> {mark(answer.score)}</span></p>'
    )
