"""How the path between checkpoints looks: accuracy and loss along it, merges side by side, one question's answers."""

import math
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from analysis.charts import ANSWER, DASHES, IMAGE, NEUTRAL, SCROLL, SERIES, TEXT, empty, figure, tint
from analysis.forgetting.path.sentence import points
from analysis.wording import percent

if TYPE_CHECKING:
    from analysis.forgetting.path.ask import Asked
    from analysis.forgetting.path.measure import Path
    from analysis.forgetting.path.merge import Merged, Row

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
    means = np.array([[row.mean, row.low, row.high] for row in found.rows]) * 100
    colours = [IMAGE if row.merged else NEUTRAL if row.gain is None else TEXT for row in found.rows]
    dots = go.Scatter(
        x=means[:, 0], y=list(range(len(names))), mode="markers", marker={"size": 12, "color": colours},
        error_x={"type": "data", "symmetric": False, "array": means[:, 2] - means[:, 0],
                 "arrayminus": means[:, 0] - means[:, 1], "color": NEUTRAL, "thickness": 1.5},
        customdata=np.column_stack([[escape(r.label) for r in found.rows], means[:, 1:].round(1).astype(str)]),
        hovertemplate="%{customdata[0]}: %{x:.1f} % (95 %: %{customdata[1]} to %{customdata[2]})<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    return figure(
        110 + 44 * len(names), dots, margin={"l": 8, "r": 16, "t": 8, "b": 8},
        xaxis={"title": f"Accuracy, % (n = {len(found.tasks)} × {found.n})", "range": [-2, 102], "dtick": 25},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.5, -0.5],
               "zeroline": False},
    )  # fmt: skip


def merged_table(found: "Merged | None") -> str:
    """Accuracy of every candidate on every task, and what it gains over the last checkpoint, in points."""
    if found is None:
        return ""
    head = "".join(f"<th>{escape(task)}</th>" for task in found.tasks)
    rows = "".join(
        f'<tr><th scope="row">{escape(row.label)}</th>{"".join(f"<td>{100 * v:.0f}</td>" for v in row.accuracy)}'
        f"<td>{100 * row.mean:.0f}</td><td>{gain(row)}</td></tr>"
        for row in found.rows
    )
    return (
        f'{SCROLL}<table class="plain"><thead><tr><th>Accuracy, %</th>{head}<th>all</th>'
        f"<th>against {escape(found.rows[0].label)}, points</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def gain(row: "Row") -> str:
    """What a candidate gains over the last checkpoint, points; a dash for that one itself."""
    return points(row.gain.value, row.gain.low, row.gain.high).replace(" points", "") if row.gain else "–"


def answers(found: "Asked") -> str:
    """What each of the weights answers: its form, its probability, and whether it is right."""
    rows = []
    for i, name in enumerate(found.labels):
        chosen = ' class="chosen"' if i == found.here else ""
        rows.append(
            f'<tr{chosen}><th scope="row">{escape(name)}</th><td>{escape(found.answers[i]) or "<i>nothing</i>"} '
            f'<span class="kind">{escape(found.styles[i])}</span></td>'
            f"<td>{percent(math.exp(found.logprob[i]))}<br>{_mark(found.scores[i])}</td></tr>"
        )
    truth = "" if found.truth is None else f" The true answer: <b>{escape(found.truth)}</b>"
    head = "<th>Weights</th><th>Answer, its form</th><th>Its probability</th>"
    return (
        f'<div class="card"><p>{escape(found.question)}{truth}</p><table class="checkpoints"><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _mark(score: float) -> str:
    if math.isnan(score):
        return ""
    if score in (0, 1):
        return '<span class="right">✓ right</span>' if score else '<span class="wrong">✗ wrong</span>'
    return f'<span class="partly">◐ {score:.2f}</span>'


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
