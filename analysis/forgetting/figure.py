"""How forgetting looks, and what it says: the accuracy matrix with the answers behind a cell beside it, its course, its
numbers."""

import json
import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from analysis.charts import DASHES, IMAGE, RIGHT, SERIES, WRONG, data_uri, figure, mark, said
from analysis.forgetting.terms import ESSENTIAL, MEANS, PARTS, SUPERFICIAL
from analysis.statistics import Estimate
from analysis.table import SCROLL, Head, Table
from analysis.wording import UNKNOWN, between, estimate, number, percent, plural, points, verdict

if TYPE_CHECKING:
    from analysis.forgetting.measure import Forgetting, Shown

FATES = dict(zip(PARTS, (RIGHT, SERIES[5], WRONG), strict=True))
"""The colour of what became of right answers."""

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
        f'data-set="{escape(json.dumps(chooses))}" data-to="{to}" aria-pressed="{str(chosen).lower()}" '
        f'aria-label="{escape(label)}" title="{escape(label)}">{text}</button></td>'
    )


def matrix(found: "Forgetting", chosen: tuple[int, int] | None = None) -> str:
    """The accuracy matrix as a table of buttons that choose ``row`` and ``column``; ``chosen`` is marked."""
    same = len(set(found.n)) == 1
    head = "".join(
        f'<th scope="col">{escape(t)}{"" if same else f"<small>n = {n}</small>"}</th>'
        for t, n in zip(found.tasks, found.n, strict=True)
    )
    rows = []
    for i in range(len(found.checkpoints)):
        cells = ""
        for j, task in enumerate(found.tasks):
            of = found.cell(i, j)
            span = f"95 % interval {percent(of.low)} to {percent(of.high)}"
            label = f"{found.label(i)}, {task}: {percent(of.value)}, {span}, n = {of.n}"
            chooses = {"row": str(i), "column": str(j), "cards": str(CARDS)}
            told = escape(percent(of.value).removesuffix(" %")), of.value, chooses, label, chosen == (i, j)
            cells += button(*told, "own" if found.own[j] == i else "", "items") if of.known else f"<td>{UNKNOWN}</td>"
        css = "" if i in found.own or i == 0 else ' class="reference"'
        rows.append(f'<tr{css}><th scope="row">{escape(found.label(i))}</th>{cells}</tr>')
    items = f"n = {found.n[0]} items of each task, " if same else ""
    return (
        f'{SCROLL}<table class="matrix" aria-describedby="matrix-key">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<p class="key" id="matrix-key">Accuracy in % ({items}one training run). Outlined: right after its own '
        "training. Click a cell for its answers.</p>"
    )


def heat_map(found: "Forgetting") -> go.Figure:
    """The accuracy matrix as a chart, for a page of its own. In per cent."""
    names = [f"{t} (n = {n})" for t, n in zip(found.tasks, found.n, strict=True)]
    rows = [found.label(i) for i in range(len(found.checkpoints))]
    heat = go.Heatmap(
        z=np.round(100 * found.matrix, 1), x=names, y=rows, zmin=0, zmax=100, colorscale=_SCALE, xgap=2, ygap=2,
        text=[[escape(percent(v).removesuffix(" %")) for v in row] for row in found.matrix], texttemplate="%{text}",
        colorbar={"title": "Accuracy, %"}, hovertemplate="%{y}, %{x}: %{z} %<extra></extra>",
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
        lines.append(go.Scatter(
            x=x, y=100 * found.matrix[rows, j], name=task, mode="lines+markers",
            line={"color": SERIES[j % len(SERIES)], "width": 2.5, "dash": DASHES[j % len(DASHES)]},
            marker={"size": [13 if i == own else 6 for i in range(len(rows))]},
            customdata=100 * np.stack([found.low[rows, j], found.high[rows, j]], 1),
            hovertemplate="%{y:.0f} % (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})",
        ))
    down = {"title": "Accuracy, %", "range": [-3, 103]}
    across = {"title": "Checkpoint, in the order of training"}
    return figure(350, *lines, hovermode="x unified", margin={"t": 64}, xaxis=across, yaxis=down)


def numbers(found: "Forgetting") -> str:
    """The field's summary numbers in plain words with their intervals, and what became of what was right."""
    learnt, kept, on_the_way, changed, helped = (found.number(name) for name in ("mft", "mfn", "maa", "bwt", "fwt"))

    def tile(title: str, value: str, why: str, sign: bool = False, **below: Estimate) -> str:
        spans = [
            f"{name} {estimate(of, 0, sign) if of.known and not math.isnan(of.low) else UNKNOWN}"
            for name, of in below.items()
        ]
        return f"<div><dt>{_term(title, why)}</dt><dd>{value}<small>{'<br>'.join(spans)}</small></dd></div>"

    tiles = (
        tile(
            "Learnt → kept", f"{number(100 * learnt.value)} → {number(100 * kept.value)} %",
            "Mean accuracy of each task right after its own training (mean fine-tune accuracy), and of all tasks after "
            "the last one (mean final accuracy).", MFT=learnt, MFN=kept,
        ),
        tile(
            "Earlier tasks changed by", points(changed.value),
            "Backward transfer: what later tasks changed of earlier ones, on average. Negative is forgetting.",
            sign=True, BWT=changed,
        ),
        tile(
            "New tasks helped by", points(helped.value),
            "Forward transfer: a task's accuracy just before its own training, minus the base's, on average.",
            sign=True, FWT=helped,
        ),
        tile(
            "Mean on the way", percent(on_the_way.value),
            "Mean average accuracy: after each task, the mean over the tasks seen so far; then the mean of those.",
            MAA=on_the_way,
        ),
    )
    told, became = f'<dl class="numbers">{"".join(tiles)}</dl>', found.became
    if len(found.tasks) < 2:
        return told
    if not became:
        return f'{told}<p class="key">Lost or only the form: not asked again yet, see the next section.</p>'
    bars, shares = "", []
    for part, of in became.items():
        bars += f'<i style="width:{100 * of.value:.1f}%;background:{FATES[part]}"></i>' if of.known else ""
        of_all = f"{percent(of.value)} ({between(of)})" if of.known else UNKNOWN
        shares.append(_term(f'<i style="background:{FATES[part]}"></i>{part} {of_all}', MEANS[part]))
    n = plural(next(iter(became.values())).n, "answer")
    return (
        f'{told}<div class="fate"><p class="key">Of {n} right after their own task, at the end:</p>'
        f'<div aria-hidden="true">{bars}</div><p>{" ".join(shares)} '
        '<button type="button" data-go="forgetting/split">by task →</button></p></div>'
    )


def _term(inner: str, why: str) -> str:
    return f'<dfn class="term" tabindex="0">{inner}<span role="tooltip">{escape(why)}</span></dfn>'


def by_task(found: "Forgetting") -> str:
    """Forgetting task by task, and how much of it was form alone."""
    best = "Best accuracy since its own training, minus the accuracy at the end."
    rows = (
        [Head("Forgetting", best, unit="points", digits=0), *map(found.lost, range(len(found.tasks)))],
        [Head("Superficial", MEANS[SUPERFICIAL], unit="% of items", digits=0), *found.superficial],
        [Head("Essential", MEANS[ESSENTIAL], unit="% of items", digits=0), *found.essential],
    )
    return Table(["", *found.tasks], rows).html()


def items(shown: "Sequence[Shown]", pictures: Sequence, cell: str, labels: tuple[str, str], total: int) -> str:
    """The first items of ``cell``, of ``total``: picture (or None), question, truth, and two answers side by side.

    ``labels`` say whose the answers are, that right after the task's own training and that of the chosen checkpoint;
    where they are the same, one is shown.
    """
    cards = []
    for item, picture in zip(shown, pictures, strict=True):
        told = ""
        for label, answer in dict(zip(labels, (item.then, item.now), strict=True)).items():
            inner = "<i>not measured</i>"
            if answer is not None:
                kind = f'<span class="kind">{escape(answer.style)}</span>'
                inner = f"<b>{said(answer.given)}</b><span>{kind} {mark(answer.score)}</span>"
            told += f"<p><small>{escape(label)}</small>{inner}</p>"
        cards.append(card(picture, item.question, item.truth, item.style, f'<div class="answers">{told}</div>'))
    return listing(cards, cell, total)


def card(picture: Image.Image | None, question: str, truth: str, style: str, inner: str) -> str:
    """One item: its picture, its question, the truth in the asked form, and ``inner`` (HTML)."""
    shown = f'<img src="{data_uri(picture, 160)}" alt="">' if picture else '<div class="none">text only</div>'
    return (
        f"<li>{shown}<div><p>{escape(question)}</p><p><small>truth</small> <b>{escape(truth)}</b> "
        f'<span class="kind">{escape(style)}</span></p>{inner}</div></li>'
    )


def listing(cards: Sequence[str], where: str, total: int) -> str:
    """Cards below what they are of, with a button for more of the ``total``."""
    if not cards:
        return f'<p class="key">{escape(where)}: no answer here.</p>'
    more = ""
    if len(cards) < total:
        ahead = min(MORE, total - len(cards))
        chooses = escape(json.dumps({"cards": str(len(cards) + ahead)}))
        more = f'<button type="button" data-set="{chooses}">{ahead} more</button>'
    return (
        f'<p class="key" aria-live="polite"><b>{escape(where)}</b>, {len(cards)} of {total}</p>'
        f'<ul class="items then">{"".join(cards)}</ul>{more}'
    )


def sentence(found: "Forgetting") -> str:
    """What was learnt and what was lost; whether it was is told by the 95 % interval of backward transfer."""
    own = found.matrix[list(found.own), range(len(found.tasks))]
    last = found.matrix[found.own[-1]]
    gain = float((own - found.matrix[0]).mean())
    if math.isnan(found.mft) or math.isnan(found.mfn) or math.isnan(gain):
        return "Some cells were not measured, so what was learnt and lost cannot be summed up."
    against = f"{points(abs(gain), sign=False)} {'above' if gain >= 0 else 'below'} the base"
    if len(found.tasks) < 2:
        return (
            f"The set has one task, {found.tasks[0]}: it is learnt to {percent(found.mft)}, {against}. "
            "What later tasks cost earlier ones, and whether earlier ones help, takes two tasks at least."
        )
    changed, before = found.number("bwt"), f"{percent(found.mft)} learnt, {percent(found.mfn)} kept"
    size = f"{points(abs(found.bwt), sign=False)} on average (95 %: {between(-changed if found.bwt < 0 else changed)})"
    by = f"Right after its own training a task reaches {percent(found.mft)} on average, {against}."
    worst = int(np.argmax((own - last)[:-1]))
    most = f"Most was lost of {found.tasks[worst]}: {percent(own[worst])} → {percent(last[worst])}."
    return verdict(
        changed,
        above=f"{before}: later tasks even raised the earlier ones, by {size}. {by}",
        below=f"{before}: later tasks cost the earlier ones {size}. {most} {by}",
        neither=(
            f"{before}: later tasks did not clearly change the earlier ones ({points(found.bwt)} on average; 95 %: "
            f"{between(changed, sign=True)}). {by}"
        ),
    )


PREDICTED = ("more than two thirds", "between one and two thirds", "less than a third")
"""What ``outcome`` can be."""


def outcome(found: "Forgetting") -> str | None:
    """How much of the first task's accuracy right after its training is left after the last task.

    None where there is one task, or nothing was right.
    """
    learnt, left = found.matrix[found.own[0], 0], found.matrix[found.own[-1], 0]
    if len(found.tasks) < 2 or not learnt > 0 or math.isnan(left):
        return None
    return PREDICTED[0] if left > learnt * 2 / 3 else PREDICTED[1] if left >= learnt / 3 else PREDICTED[2]
