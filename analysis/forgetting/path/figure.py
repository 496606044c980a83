"""How the path between checkpoints looks: accuracy and loss along it, merges side by side, one question's answers."""

import math
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SERIES, TEXT, figure, mark, reach, said, tint
from analysis.table import Head, Html, Table
from analysis.wording import UNKNOWN, estimate, percent

if TYPE_CHECKING:
    from analysis.forgetting.path.ask import Asked
    from analysis.forgetting.path.measure import Path
    from analysis.forgetting.path.merge import Merged

_LETTERS = 17  # of a label, beside a chart on a phone


def path(found: "Path", alpha: float) -> go.Figure:
    """Accuracy, %, by alpha; bands are 95 % intervals. The best mean is marked, and where one stands (``alpha``)."""
    traces = []
    for t in range(len(found.tasks)):
        traces += _curve(found, t, 100 * found.accuracy[t], 100 * found.accuracy_bounds[:, t], "%", 0)
    if len(found.tasks) > 1:
        traces.append(
            go.Scatter(
                x=found.alpha, y=100 * found.mean, name="mean of both", mode="lines",
                line={"color": NEUTRAL, "width": 2}, hovertemplate="%{y:.0f} %",
            )
        )  # fmt: skip
    marks = {"best mean": (found.best.alpha, ANSWER), "you are here": (alpha, NEUTRAL)}
    lines = [
        {
            "type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": colour, "width": 1.5, "dash": "dash"},
        }
        for x, colour in marks.values()
    ]  # fmt: skip
    notes = [
        {
            "text": text, "x": x, "y": 1 - 0.08 * i, "yref": "paper", "yanchor": "top", "showarrow": False,
            "font": {"color": colour}, "xanchor": "left" if x < 0.8 else "right",
        }
        for i, (text, (x, colour)) in enumerate(marks.items())
    ]  # fmt: skip
    return _by_alpha(found, traces, "Accuracy, %", shapes=lines, annotations=notes, range=[-3, 103])


def loss(found: "Path") -> go.Figure:
    """Loss, nats an answer, by alpha; bands are 95 % intervals, dotted the straight line between the ends' losses."""
    traces = []
    for t in range(len(found.tasks)):
        traces += _curve(found, t, found.loss[t], found.loss_bounds[:, t], "nats", 2)
        straight = {"color": SERIES[t], "width": 1.5, "dash": "dot"}
        traces.append(
            go.Scatter(x=found.alpha, y=found.line[t], mode="lines", line=straight, showlegend=False, hoverinfo="skip")
        )
    return _by_alpha(found, traces, "Loss, nats an answer", rangemode="tozero")


def _by_alpha(found: "Path", traces: list, title: str, shapes=(), annotations=(), **axis) -> go.Figure:
    return figure(
        350, *traces, shapes=shapes, annotations=annotations, hovermode="x unified",
        margin={"l": 8, "r": 16, "t": 40, "b": 8}, yaxis={"title": title, **axis},
        xaxis={"title": f"alpha: 0 is {escape(found.a)}, 1 is {escape(found.b)}", "dtick": 0.2, "range": [-0.03, 1.03]},
    )  # fmt: skip


def _curve(found: "Path", task: int, y, bounds, unit: str, digits: int) -> list[go.Scatter]:
    """A task's line with its band."""
    (low, high), x = bounds, found.alpha
    band = go.Scatter(
        x=np.concatenate([x, x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
        fillcolor=tint(SERIES[task], 0.16), line={"width": 0}, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    told = f"%{{y:.{digits}f}} {unit} (95 %: %{{customdata[0]:.{digits}f}} to %{{customdata[1]:.{digits}f}})"
    line = go.Scatter(
        x=x, y=y, name=f"{escape(found.tasks[task])} (n = {found.n}, a sample)", mode="lines+markers",
        line={"color": SERIES[task], "width": 2.5, "dash": DASHES[task]}, marker={"size": 7},
        customdata=np.stack([low, high], 1), hovertemplate=told,
    )  # fmt: skip
    return [band, line]


def merged(found: "Merged") -> go.Figure:
    """Accuracy over all tasks, %, with its 95 % interval: a row a candidate."""
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
        90 + 40 * len(names), dots, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"Accuracy, % (n = {len(found.tasks)} × {found.n}, a sample)", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.5, -0.5],
               "zeroline": False},
    )  # fmt: skip


def merges(found: "Merged") -> Table:
    """Accuracy of every candidate on every task, and what it gains over the last checkpoint."""
    heads = [*(Head(task, shares=True) for task in (*found.tasks, "all")),
             Head(f"against {found.rows[0].label}", unit="points", sign=True)]  # fmt: skip
    return Table(["Accuracy, %", *heads], [[r.label, *r.accuracy, r.mean, r.gain or UNKNOWN] for r in found.rows])


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


def options(found: "Asked") -> go.Figure | None:
    """Probability of each option, %, under each of the weights; None where there is nothing to choose between."""
    if not found.options:
        return None
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
