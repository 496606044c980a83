"""How forgetting looks: the accuracy matrix, its course, its numbers, the items of a cell, one sentence."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import DASHES, IMAGE, SERIES, figure

if TYPE_CHECKING:
    from analysis.forgetting.measure import Forgetting, Shown

_SCALE = [[0, "rgba(0,114,178,0.05)"], [1, IMAGE]]
_WHITE_FROM = 0.87  # of full shade: where white text reads better than dark text
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


def row_label(found: "Forgetting", row: int) -> str:
    """``base``, ``after naming``, or the name of a reference."""
    name = found.checkpoints[row]
    return f"after {name}" if row in found.own else name


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def _points(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:+.0f}".replace("-", "−")


def matrix(found: "Forgetting", chosen: tuple[int, int] | None = None) -> str:
    """The accuracy matrix as a table of buttons, ``data-pick`` ``"row,column"``; ``chosen`` is marked."""
    head = "".join(
        f'<th scope="col">{escape(t)}<small>n = {n}</small></th>' for t, n in zip(found.tasks, found.n, strict=True)
    )
    rows = []
    for i in range(len(found.checkpoints)):
        cells = "".join(_cell(found, i, j, chosen == (i, j)) for j in range(len(found.tasks)))
        css = "" if i in found.own or i == 0 else ' class="reference"'
        rows.append(f'<tr{css}><th scope="row">{escape(row_label(found, i))}</th>{cells}</tr>')
    return (
        '<div class="scroll"><table class="matrix" aria-describedby="matrix-key">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        '<p class="key" id="matrix-key">Accuracy in %, by checkpoint (rows) and task (columns). Outlined: a task right '
        "after its own training. Choose a cell to see its answers.</p>"
    )


def _cell(found: "Forgetting", i: int, j: int, chosen: bool) -> str:
    value, low, high = found.matrix[i, j], found.low[i, j], found.high[i, j]
    if math.isnan(value):
        return "<td>–</td>"
    own = found.own[j] == i
    label = (
        f"{row_label(found, i)}, {found.tasks[j]}: {_percent(value)}, 95 % interval {_percent(low)} to "
        f"{_percent(high)}, n = {found.n[j]}"
    )
    css = " ".join(c for c, on in (("own", own), ("chosen", chosen), ("full", value >= _WHITE_FROM)) if on)
    pressed = ' aria-pressed="true"' if chosen else ""
    return (
        f'<td><button type="button" class="{css}" style="--a:{value:.2f}" data-pick="{i},{j}"{pressed} '
        f'aria-label="{escape(label)}" title="{escape(label)}">{100 * value:.0f}</button></td>'
    )


def heat_map(found: "Forgetting") -> go.Figure:
    """The accuracy matrix as a chart, for a page of its own. In per cent."""
    text = [[f"{100 * v:.0f}" if not math.isnan(v) else "–" for v in row] for row in found.matrix]
    names = [f"{t} (n = {n})" for t, n in zip(found.tasks, found.n, strict=True)]
    rows = [row_label(found, i) for i in range(len(found.checkpoints))]
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
    """The field's summary numbers, each explained on hover; and forgetting task by task."""
    tiles = []
    for key, short, meaning in _NUMBERS:
        value = getattr(found, key)
        shown = _points(value) if key in ("bwt", "fwt") else _percent(value)
        tiles.append(f'<div tabindex="0" title="{meaning}"><dt><abbr>{short}</abbr></dt><dd>{shown}</dd></div>')
    head = "".join(f"<th>{escape(t)}</th>" for t in found.tasks)
    rows = (
        (
            "Forgetting, points",
            "Best accuracy since its own training, minus the accuracy at the end.",
            found.forgetting,
        ),
        (
            "Lost to another form, % of items",
            "Right after its own task, wrong at the end, and not in the asked form.",
            found.superficial,
        ),
        (
            "Lost to a wrong fact, % of items",
            "Right after its own task, wrong at the end, though in the asked form.",
            found.essential,
        ),
    )
    body = "".join(
        f'<tr><th scope="row" title="{hint}">{name}</th>'
        + "".join(f"<td>{_points(v).lstrip('+')}</td>" for v in values)
        + "</tr>"
        for name, hint, values in rows
    )
    return (
        f'<dl class="numbers">{"".join(tiles)}</dl><div class="scroll"><table class="plain"><thead><tr><th></th>{head}'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def items(shown: "Sequence[Shown]", uris: Sequence[str | None], where: str, first: int, total: int) -> str:
    """One page of a cell's items: picture, question, truth, answer, form, right or wrong."""
    if not shown:
        return f'<div class="card quiet">{escape(where)}: nothing to show here.</div>'
    cards = []
    for item, uri in zip(shown, uris, strict=True):
        picture = f'<img src="{uri}" alt="">' if uri else '<div class="none">text only</div>'
        verdict = "right" if item.score == 1 else "wrong" if item.score == 0 else "partly"
        sign = {"right": "✓ right", "wrong": "✗ wrong", "partly": f"◐ {item.score:.2f}"}[verdict]
        cards.append(
            f"<li>{picture}<div><p>{escape(item.question)}</p><p><small>truth</small> <b>{escape(item.truth)}</b></p>"
            f"<p><small>answer</small> <b>{escape(item.given) or '<i>nothing</i>'}</b></p>"
            f'<p><span class="kind">{escape(item.style)}</span> <span class="{verdict}">{sign}</span></p></div></li>'
        )
    heading = f"{escape(where)}: {first + 1} to {first + len(shown)} of {total}"
    return f'<p class="key" aria-live="polite">{heading}</p><ul class="items">{"".join(cards)}</ul>'


def sentence(found: "Forgetting") -> str:
    """What was learnt and what was lost, in plain words."""
    own = found.matrix[list(found.own), range(len(found.tasks))]
    gain = float((own - found.matrix[0]).mean())
    if math.isnan(found.mft) or math.isnan(found.mfn) or math.isnan(gain):
        return "Some cells were not measured, so what was learnt and lost cannot be summed up."
    said = (
        f"Right after its own training a task reaches {_percent(found.mft)} on average, {abs(100 * gain):.0f} points "
        f"{'above' if gain >= 0 else 'below'} the base."
    )
    if len(found.tasks) < 2:
        return said
    lost = own - found.matrix[found.own[-1]]
    worst = int(np.argmax(lost[:-1]))
    if found.bwt < -0.005:
        said += (
            f" After the last task {_percent(found.mfn)} is left: training on later tasks cost the earlier ones "
            f"{-100 * found.bwt:.0f} points on average, most of all {found.tasks[worst]} "
            f"({_percent(own[worst])} → {_percent(found.matrix[found.own[-1], worst])})."
        )
    else:
        said += (
            f" After the last task it is {_percent(found.mfn)}: later tasks cost the earlier ones nothing on average."
        )
    return said
