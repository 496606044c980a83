"""How the path between checkpoints looks: accuracy and loss along it, merges side by side, one question's answers."""

import math
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, empty, figure, mark, reach, said, tint
from analysis.table import Head, Html, Table
from analysis.wording import UNKNOWN, estimate, percent

if TYPE_CHECKING:
    from analysis.forgetting.path.ask import Asked
    from analysis.forgetting.path.measure import Path
    from analysis.forgetting.path.merge import Merged

_PATH_HINT = "Press Measure: accuracy and loss<br>at 11 points of the line"
_MERGE_HINT = "Press Measure: this merge on every task,<br>beside the last and the joint checkpoint"
_LETTERS = 17  # of a label, beside a chart on a phone


def path(found: "Path | None") -> go.Figure:
    """Accuracy (%) above and loss (nats an answer) below, by alpha; bands are 95 % intervals, dotted the straight line
    between the ends' losses.
    """
    if found is None:
        return empty(_PATH_HINT)
    traces = []
    for t, task in enumerate(found.tasks):
        look = SERIES[t], DASHES[t], f"{task} (n = {found.n})"
        traces += _curve(found.alpha, 100 * found.accuracy[t], 100 * found.accuracy_bounds[:, t], *look, "%", "y")
        traces += _curve(found.alpha, found.loss[t], found.loss_bounds[:, t], *look, "nats", "y2")
        straight = {"color": SERIES[t], "width": 1.5, "dash": "dot"}
        traces.append(
            go.Scatter(
                x=found.alpha, y=found.line[t], yaxis="y2", mode="lines", line=straight, showlegend=False,
                hoverinfo="skip",
            )
        )  # fmt: skip
    if len(found.tasks) > 1:
        traces.append(
            go.Scatter(
                x=found.alpha, y=100 * found.mean, name="mean of both", mode="lines",
                line={"color": NEUTRAL, "width": 2}, hovertemplate="%{y:.0f} %",
            )
        )  # fmt: skip
    best = found.best.alpha
    mark = {
        "type": "line", "x0": best, "x1": best, "y0": 0, "y1": 1, "yref": "paper",
        "line": {"color": ANSWER, "width": 1.5, "dash": "dash"},
    }  # fmt: skip
    note = {
        "text": "best mean", "x": best, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
        "font": {"color": ANSWER}, "xanchor": "left" if best < 0.2 else "right" if best > 0.8 else "center",
    }  # fmt: skip
    return figure(
        600, *traces, shapes=[mark], annotations=[note], hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 92, "b": 8}, legend={"y": 1.07, "yanchor": "bottom"},
        xaxis={"title": f"alpha: 0 is {escape(found.a)}, 1 is {escape(found.b)}", "anchor": "y2", "dtick": 0.2,
               "range": [-0.03, 1.03]},
        yaxis={"title": "Accuracy, %", "range": [-3, 103], "domain": [0.54, 1]},
        yaxis2={"title": "Loss, nats an answer", "domain": [0, 0.46], "rangemode": "tozero"},
    )  # fmt: skip


def _curve(x, y, bounds, colour: str, dash: str, name: str, unit: str, axis: str) -> list[go.Scatter]:
    """A line with its band; the upper panel's stands in the legend for both."""
    low, high = bounds
    first, digits = axis == "y", 0 if unit == "%" else 2
    band = go.Scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), yaxis=axis, fill="toself",
        fillcolor=tint(colour, 0.16), line={"width": 0}, showlegend=False, hoverinfo="skip", legendgroup=name,
    )  # fmt: skip
    told = f"%{{y:.{digits}f}} {unit} (95 %: %{{customdata[0]:.{digits}f}} to %{{customdata[1]:.{digits}f}})"
    line = go.Scatter(
        x=x, y=y, yaxis=axis, name=name, mode="lines+markers", line={"color": colour, "width": 2.5, "dash": dash},
        marker={"size": 7}, showlegend=first, legendgroup=name, customdata=np.stack([low, high], 1),
        hovertemplate=told,
    )  # fmt: skip
    return [band, line]


def merged(found: "Merged | None") -> go.Figure:
    """Accuracy over all tasks, %, with its 95 % interval: a row a candidate."""
    if found is None:
        return empty(_MERGE_HINT)
    names = [_broken(row.label) for row in found.rows]
    means = [row.mean for row in found.rows]
    colours = [IMAGE if row.merged else NEUTRAL if row.gain is None else TEXT for row in found.rows]
    dots = go.Scatter(
        x=[100 * of.value for of in means], y=list(range(len(names))), mode="markers",
        marker={"size": 12, "color": colours}, error_x={**reach(means), "color": NEUTRAL, "thickness": 1.5},
        text=[f"{escape(r.label)}: {estimate(r.mean, 1, unit=' %')}" for r in found.rows],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    return figure(
        110 + 44 * len(names), dots, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"Accuracy, % (n = {len(found.tasks)} × {found.n})", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.5, -0.5],
               "zeroline": False},
    )  # fmt: skip


def merges(found: "Merged") -> Table:
    """Accuracy of every candidate on every task, and what it gains over the last checkpoint."""
    heads = [*(Head(task, shares=True) for task in (*found.tasks, "all")),
             Head(f"against {found.rows[0].label}", unit="points", sign=True)]  # fmt: skip
    return Table(["Accuracy, %", *heads], [[r.label, *r.accuracy, r.mean, r.gain or UNKNOWN] for r in found.rows])


def merged_table(found: "Merged | None") -> str:
    """The same on the page."""
    return merges(found).html() if found else ""


def answers(found: "Asked") -> str:
    """What each of the weights answers: its form, its probability, and whether it is right."""
    rows = [
        [name, Html(f'{said(answer)} <span class="kind">{escape(style)}</span>', answer),
         Html(f"{percent(math.exp(logprob))}<br>{mark(score)}")]
        for name, answer, style, logprob, score in zip(
            found.labels, found.answers, found.styles, found.logprob, found.scores, strict=True
        )
    ]  # fmt: skip
    truth = "" if found.truth is None else f" The true answer: <b>{escape(found.truth)}</b>"
    table = Table(["Weights", "Answer, its form", "Its probability"], rows, {found.here: "chosen"})
    return f'<div class="card"><p>{escape(found.question)}{truth}</p>{table.html("checkpoints")}</div>'


def options(found: "Asked | None") -> go.Figure:
    """Probability of each option, %, under each of the weights."""
    if found is None or not found.options:
        return empty("The probability of each option, or of each<br>answer where they differ", 160)
    colours = cycle((SERIES[0], SERIES[1], *SERIES[3:]))
    bars = [
        go.Bar(
            x=100 * found.probability[i], y=list(range(len(found.options))), name=escape(name), orientation="h",
            marker_color=ANSWER if i == found.here else next(colours),
            hovertemplate="%{x:.1f} %", text=[percent(p) for p in found.probability[i]], textposition="outside",
            cliponaxis=False,
        )
        for i, name in enumerate(found.labels)
    ]  # fmt: skip
    return figure(
        120 + (20 * len(bars) + 14) * len(found.options), *bars, barmode="group", bargap=0.25,
        margin={"l": 8, "r": 56, "t": 24 + 16 * len(bars), "b": 8},
        xaxis={"title": "Probability among these, %", "range": [0, 100]},
        yaxis={"tickvals": list(range(len(found.options))), "autorange": "reversed",
               "ticktext": [_broken(o[:60]) for o in found.options]},
    )  # fmt: skip


def _broken(label: str) -> str:
    """A long label over several lines, at its spaces."""
    lines = [""]
    for word in label.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(map(escape, lines))
