"""How forgetting looks: the accuracy matrix, its course, its numbers, the items of a cell then and now."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, SERIES, figure
from analysis.table import SCROLL, Head, Table
from analysis.wording import between, number, percent

if TYPE_CHECKING:
    from analysis.forgetting.measure import Answer, Forgetting, Shown

_SCALE = [[0, "rgba(0,114,178,0.05)"], [1, IMAGE]]
_NUMBERS = (
    ("mft", "MFT", "Mean fine-tune accuracy: each task right after its own training."),
    ("mfn", "MFN", "Mean final accuracy: all tasks after the last one."),
    (
        "maa",
        "MAA",
        "Mean average accuracy: after each task, the mean over the tasks seen so far; then the mean of those.",
    ),
    ("bwt", "BWT", "Backward transfer: how much later tasks changed earlier ones. Negative is forgetting."),
    ("fwt", "FWT", "Forward transfer: how much earlier tasks helped a task before it was trained, against the base."),
)


def matrix(found: "Forgetting", chosen: tuple[int, int] | None = None) -> str:
    """The accuracy matrix as a table of buttons, ``data-pick`` ``"row,column"``; ``chosen`` is marked."""
    head = "".join(
        f'<th scope="col">{escape(t)}<small>n = {n}</small></th>' for t, n in zip(found.tasks, found.n, strict=True)
    )
    rows = []
    for i in range(len(found.checkpoints)):
        cells = "".join(_cell(found, i, j, chosen == (i, j)) for j in range(len(found.tasks)))
        css = "" if i in found.own or i == 0 else ' class="reference"'
        rows.append(f'<tr{css}><th scope="row">{escape(found.label(i))}</th>{cells}</tr>')
    return (
        f'{SCROLL}<table class="matrix" aria-describedby="matrix-key">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="key" id="matrix-key">Accuracy in %, by checkpoint (rows) and task (columns). Outlined: a task right '
        "after its own training. Choose a cell to see its answers.</p>"
    )


def _cell(found: "Forgetting", i: int, j: int, chosen: bool) -> str:
    of = found.cell(i, j)
    if not of.known:
        return "<td>–</td>"
    own = found.own[j] == i
    label = (
        f"{found.label(i)}, {found.tasks[j]}: {percent(of.value)}, 95 % interval {percent(of.low)} to "
        f"{percent(of.high)}, n = {of.n}"
    )
    css = " ".join(c for c, on in (("own", own), ("chosen", chosen)) if on)
    pressed = ' aria-pressed="true"' if chosen else ""
    return (
        f'<td><button type="button" class="{css}" style="--a:{of.value:.2f}" data-pick="{i},{j}"{pressed} '
        f'aria-label="{escape(label)}" title="{escape(label)}">{100 * of.value:.0f}</button></td>'
    )


def heat_map(found: "Forgetting") -> go.Figure:
    """The accuracy matrix as a chart, for a page of its own. In per cent."""
    text = [[f"{100 * v:.0f}" if not math.isnan(v) else "–" for v in row] for row in found.matrix]
    names = [f"{t} (n = {n})" for t, n in zip(found.tasks, found.n, strict=True)]
    rows = [found.label(i) for i in range(len(found.checkpoints))]
    heat = go.Heatmap(
        z=np.round(100 * found.matrix, 1), x=names, y=rows, text=text, texttemplate="%{text}", zmin=0, zmax=100,
        colorscale=_SCALE, colorbar={"title": "Accuracy, %"}, xgap=2, ygap=2,
        hovertemplate="%{y}, %{x}: %{z} %<extra></extra>",
    )  # fmt: skip
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
                x=x, y=100 * found.matrix[rows, j], name=f"{task} (n = {found.n[j]})", mode="lines+markers",
                line={"color": SERIES[j % len(SERIES)], "width": 2.5, "dash": DASHES[j % len(DASHES)]},
                marker={"size": [13 if i == own else 6 for i in range(len(rows))]},
                customdata=100 * np.stack([found.low[rows, j], found.high[rows, j]], 1),
                hovertemplate="%{y:.0f} % (95 %: %{customdata[0]:.0f} to %{customdata[1]:.0f})",
            )
        )  # fmt: skip
    return figure(
        420, *lines, hovermode="x unified", margin={"l": 8, "r": 16, "t": 84, "b": 8},
        xaxis={"title": "Checkpoint, in the order of training"}, yaxis={"title": "Accuracy, %", "range": [-3, 103]},
    )  # fmt: skip


def numbers(found: "Forgetting") -> str:
    """The field's summary numbers with their intervals, each explained on hover; and forgetting task by task."""
    tiles = []
    for key, short, meaning in _NUMBERS:
        of, change = found.number(key), key in ("bwt", "fwt")
        told = number(100 * of.value, sign=True) if change else percent(of.value)
        span = f"<small>{'points; ' * change}95 %: {between(of, sign=change)}</small>" if of.known else ""
        tiles.append(f'<div tabindex="0" title="{meaning}"><dt><abbr>{short}</abbr></dt><dd>{told}{span}</dd></div>')
    rows = [
        [Head("Forgetting, points", "Best accuracy since its own training, minus the accuracy at the end."),
         *map(found.lost, range(len(found.tasks)))],
        [Head("Superficial, % of items",
              "Right after its own task, wrong at the end, in another form than asked; yet among options the true one "
              "is still the likeliest."), *found.superficial],
        [Head("Essential, % of items",
              "Right after its own task, wrong at the end: a wrong fact in the asked form, or in another, and among "
              "options another is likelier."), *found.essential],
    ]  # fmt: skip
    table = Table(["", *(Head(task, shares=True) for task in found.tasks)], rows)
    untold = len(found.tasks) > 1 and bool(np.isnan(found.superficial).all())
    key = '<p class="key">–: not asked again yet, see “Is the knowledge gone, or only the form?” below.</p>'
    return f'<dl class="numbers">{"".join(tiles)}</dl>{table.html()}{key if untold else ""}'


def items(
    shown: "Sequence[Shown]", uris: Sequence[str | None], cell: str, labels: tuple[str, str], first: int, total: int
) -> str:
    """One page of the items of ``cell``: picture, question, truth, and two answers beside each other.

    ``labels`` say whose the answers are, that right after the task's own training and that of the chosen checkpoint;
    where they are the same, one is shown.
    """
    if not shown:
        return f'<div class="card quiet">{escape(cell)}: nothing to show here.</div>'
    cards = []
    for item, uri in zip(shown, uris, strict=True):
        picture = f'<img src="{uri}" alt="">' if uri else '<div class="none">text only</div>'
        answers = dict(zip(labels, (item.then, item.now), strict=True))
        told = "".join(_answer(label, answer) for label, answer in answers.items())
        cards.append(
            f"<li>{picture}<div><p>{escape(item.question)}</p><p><small>truth</small> <b>{escape(item.truth)}</b> "
            f'<span class="kind">{escape(item.style)}</span></p><div class="answers">{told}</div></div></li>'
        )
    heading = f"{escape(cell)}: {first + 1} to {first + len(shown)} of {total}"
    return f'<p class="key" aria-live="polite">{heading}</p><ul class="items then">{"".join(cards)}</ul>'


def _answer(label: str, answer: "Answer | None") -> str:
    if answer is None:
        return f"<p><small>{escape(label)}</small><i>not measured</i></p>"
    verdict = "right" if answer.score == 1 else "wrong" if answer.score == 0 else "partly"
    sign = {"right": "✓ right", "wrong": "✗ wrong", "partly": f"◐ {answer.score:.2f}"}[verdict]
    return (
        f"<p><small>{escape(label)}</small><b>{escape(answer.given) or '<i>nothing</i>'}</b>"
        f'<span><span class="kind">{escape(answer.style)}</span> <span class="{verdict}">{sign}</span></span></p>'
    )
